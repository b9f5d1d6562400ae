# The server without PyTorch. docs/serving.md has how to build and run it.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
# A dependency group of pyproject.toml; `server-gpu` is for NVIDIA GPUs.
ARG PACKAGES=server
WORKDIR /src
RUN pip install --no-cache-dir "pip>=25.1" && python -m venv --without-pip /opt/cnnkit
# Before the sources: a change of these does not fetch the libraries again.
COPY pyproject.toml .
RUN pip --python /opt/cnnkit/bin/python install --no-cache-dir --group "${PACKAGES}"
COPY LICENSE README.md ./
COPY cnnkit cnnkit
COPY models_zoo models_zoo
RUN pip --python /opt/cnnkit/bin/python install --no-cache-dir --no-deps .

FROM python:${PYTHON}-slim
COPY --from=build /opt/cnnkit /opt/cnnkit
# onnxruntime would tell its maker of its use, and write an identifier to the home folder.
ENV PATH=/opt/cnnkit/bin:$PATH ORT_DISABLE_TELEMETRY=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /models
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Without the proxy that Docker may set for its containers.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import *; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["cnnkit", "serve", "--host", "0.0.0.0"]
CMD ["digits"]
