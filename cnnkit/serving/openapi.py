"""The OpenAPI 3.1 document of a server: what it answers, for people at `/docs` and for tools that generate clients."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cnnkit.serving.open_inference import HEADER_LENGTH, MAX_JSON
from cnnkit.serving.schemas import SCHEMAS, Schema, ref
from cnnkit.serving.settings import FORMATS, Settings
from cnnkit.words import counted

IMAGE_TYPES = tuple(f"image/{name.lower()}" for name in FORMATS)
"""Media types of the images that are taken."""

_TAGS = {
    "Prediction": "An image in, its class out.",
    "Open Inference Protocol": "Tensors in, tensors out, as KServe and NVIDIA's Triton speak it over HTTP: "
    "tritonclient[http] works. Preparing the image is the client's work here; /predict does it on the server.",
    "Health": "For load balancers and probes; never refused.",
    "Operation": "For whoever runs the server.",
}
_PROBLEMS = {
    400: (
        "The request cannot be understood.",
        ("json", "the request is not JSON: trailing characters at line 1 column 4."),
    ),
    404: (
        "There is no such model or version.",
        ("unknown-model", "there is no model 'lent'; this server has lenet."),
    ),
    405: (
        "Not by this method, or not from there.",
        ("method", "/predict/lenet takes POST; got GET."),
    ),
    408: (
        "The body did not come within {receive}.",
        ("slow-request", "the body did not come within 10 seconds; 512 bytes of it did."),
    ),
    413: (
        "The body is larger than {settings.max_body:,} bytes, compressed or not, or the image larger than "
        "{settings.max_pixels:,} pixels.",
        ("body-too-large", "the body is larger than 16 MiB. Send less at a time."),
    ),
    415: (
        "The body is of a kind, or in an encoding, that is not taken.",
        ("content-encoding", "Content-Encoding 'br' is not known; expected gzip or deflate."),
    ),
    422: (
        "It was understood, and does not fit the model.",
        ("tensor", 'inputs[0].datatype is "FP32"; image takes UINT8.'),
    ),
    503: (
        "The server has as much to do as it takes, is not ready, or is stopping.",
        ("queue-full", "lenet has as many requests waiting as it takes, 256. Try again."),
    ),
}
_OF_ANY_BODY = (400, 408, 413, 415, 503)
_OF_TENSORS = (*_OF_ANY_BODY, 422)
_LENGTH = {"type": "integer", "minimum": 0}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": _LENGTH}}
_JSON_LENGTH = "Length of the JSON in bytes, where binary data follows it."


def document(models: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Return the document.

    Args:
        models: names of those that are served.
        settings: with the limits that a client meets, and whether there is an admin endpoint.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cnnkit",
            "version": version("cnnkit"),
            "description": "Image classifiers on onnxruntime. Bodies may come with Content-Encoding gzip or deflate. "
            "Every answer carries X-Request-Id, the client's own where it sent one. Errors have one form: a stable "
            "code and a sentence that says what to do.",
        },
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": _prediction(models) | _protocol() | _health() | _operation(settings),
        "components": {
            "schemas": SCHEMAS,
            "parameters": {
                "Model": _parameter("path", "model", "Name of a model.", {"type": "string", "enum": list(models)}),
                "Version": _parameter("path", "version", "That serves now.", {"type": "string", "examples": ["1"]}),
            },
            "responses": _problem_responses(settings),
        },
    }


def _parameter(place: str, name: str, description: str, schema: Schema, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "description": description, "schema": schema} | more


def _problem_responses(settings: Settings) -> dict[str, Any]:
    """Return the errors, in the server's form and as `Protocol…` in that of the protocol."""
    receive = counted(settings.receive_seconds, "second")
    responses: dict[str, Any] = {}
    for status, (description, (code, message)) in _PROBLEMS.items():
        said = {"code": code, "request_id": "b5f2c1d7-2a"}
        bodies = {"": {"error": {"message": message, **said}}, "Protocol": {"error": message, **said}}
        for form, example in bodies.items():
            response = _json(
                description.format(settings=settings, receive=receive), ref(f"{form}Error"), example=example
            )
            responses[f"{form}{status}"] = response | ({"headers": _RETRY_AFTER} if status == 503 else {})
    return responses


def _problems(*statuses: int, form: str = "") -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{form}{status}"} for status in statuses}


def _json(description: str, schema: Schema, **more: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema, **more}}}


def _text(description: str, media_type: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


def _operation_of(
    tag: str, identity: str, summary: str, ok: dict[str, Any], problems: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "tags": [tag],
        "operationId": identity,
        "summary": summary,
        "responses": {"200": ok} | (problems or {}),
        **more,
    }


_MODEL = {"$ref": "#/components/parameters/Model"}
_VERSION = {"$ref": "#/components/parameters/Version"}


def _prediction(models: Sequence[str]) -> dict[str, Any]:
    shows = {"type": "array", "items": {"enum": ["input", "features"]}}
    parameters = [
        _MODEL,
        _parameter("query", "top", "How many classes.", {"type": "integer", "minimum": 1, "default": 5}),
        _parameter(
            "query", "show", "What to draw, after a comma each.", shows, style="form", explode=False,
        ),
    ]  # fmt: skip
    body = {
        "required": True,
        "description": "An image file, as it is.",
        "content": {media_type: {"schema": {}} for media_type in (*IMAGE_TYPES, "application/octet-stream")},
    }
    example = {
        "model": models[0] if models else "lenet",
        "version": "1",
        "request_id": "b5f2c1d7-2a",
        "label": "7",
        "probability": 0.9998,
        "probabilities": [{"label": "7", "probability": 0.9998}, {"label": "9", "probability": 0.0001}],
        "preprocessing": ["inverted", "cropped to the ink, boxed to 20×20, centred by mass"],
        "timings_ms": {"queue": 0.1, "decode": 0.2, "inference": 0.1, "total": 0.4},
        "batch_size": 3,
    }
    return {
        "/predict/{model}": {
            "post": _operation_of(
                "Prediction", "predict", "Classify an image",
                _json("What the network reads.", ref("Prediction"), example=example), _problems(404, *_OF_TENSORS),
                parameters=parameters, requestBody=body,
            )
        },
        "/models": {
            "get": _operation_of(
                "Prediction", "models", "The models of this server", _json("By name.", ref("Models"))
            )
        },
    }  # fmt: skip


def _health() -> dict[str, Any]:
    tag, not_ready = "Health", _problems(503, form="Protocol")
    live, ready = _json("It does.", ref("Live")), _json("It does.", ref("Ready"))
    model_ready = _json("It does.", ref("ModelReady"))
    return {
        "/v2/health/live": {"get": _operation_of(tag, "live", "Whether the server runs", live)},
        "/v2/health/ready": {"get": _operation_of(tag, "ready", "Whether it takes requests", ready, not_ready)},
    } | _of_model("/ready", "get", tag, "modelReady", "Whether a model takes requests", model_ready, {}, not_ready)


def _of_model(
    suffix: str, method: str, tag: str, identity: str, summary: str, ok: dict[str, Any], more: dict[str, Any],
    problems: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return an operation on a model, and the same on one version of it."""
    problems = _problems(404, form="Protocol") | problems

    def operation(version: bool) -> dict[str, Any]:
        parameters = [_MODEL, *([_VERSION] if version else []), *more.get("parameters", [])]
        name, said = (f"{identity}Version", f"{summary}: one version") if version else (identity, summary)
        return _operation_of(tag, name, said, ok, problems, **more | {"parameters": parameters})

    return {
        f"/v2/models/{{model}}{suffix}": {method: operation(False)},
        f"/v2/models/{{model}}/versions/{{version}}{suffix}": {method: operation(True)},
    }


def _protocol() -> dict[str, Any]:
    tag = "Open Inference Protocol"
    infer = _infer()
    index_body = {
        "content": {"application/json": {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}
    }
    return {
        **_of_model("/infer", "post", tag, "infer", "Run a model", infer["ok"], infer["request"], infer["problems"]),
        **_of_model("", "get", tag, "modelMetadata", "What a model takes and gives",
                    _json("Its tensors.", ref("ModelMetadata")), {}, {}),
        **_of_model("/config", "get", tag, "modelConfig", "How a model is set up",
                    _json("In Triton's form.", ref("ModelConfig")), {}, {}),
        **_of_model("/stats", "get", tag, "modelStatistics", "What a model has done",
                    _json("Counts and times.", ref("Statistics")), {}, {}),
        "/v2/models/stats": {
            "get": _operation_of(tag, "statistics", "What all models have done",
                                 _json("Counts and times.", ref("Statistics")))
        },
        "/v2": {
            "get": _operation_of(tag, "serverMetadata", "What this server is",
                                 _json("Name, version and extensions.", ref("ServerMetadata")))
        },
        "/v2/repository/index": {
            "post": _operation_of(tag, "repositoryIndex", "The models and their states",
                                  _json("All of them, or with ready those that are.", ref("RepositoryIndex")),
                                  _problems(*_OF_ANY_BODY, form="Protocol"), requestBody=index_body)
        },
    }  # fmt: skip


def _infer() -> dict[str, Any]:
    binary = {"schema": {"description": "The JSON object, then the binary data of its tensors in their order."}}
    example = {
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 1], "data": [0, 255, 255, 0]}],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 1}}],
    }
    answer = {
        "model_name": "lenet",
        "model_version": "1",
        "outputs": [{"name": "probabilities", "datatype": "BYTES", "shape": [1, 1], "data": ["0.9998:7:7"]}],
    }
    raw = "0 says that there is no JSON: the body is the bytes of the model's only input."
    header = _parameter("header", HEADER_LENGTH, f"{_JSON_LENGTH} {raw}", _LENGTH)
    content = {
        "application/json": {"schema": ref("InferRequest"), "example": example},
        "application/octet-stream": binary,
    }
    response = {
        "description": "The outputs; as binary data where the request asked for it.",
        "headers": {HEADER_LENGTH: {"description": _JSON_LENGTH, "schema": _LENGTH}},
        "content": {
            "application/json": {"schema": ref("InferResponse"), "example": answer},
            "application/octet-stream": binary,
        },
    }
    said = (
        "The example is for 2×2 grey pixels; the answer to GET /v2/models/{model} says what a model takes. "
        f"At most {MAX_JSON:,} bytes of JSON are read; binary data may be larger."
    )
    return {
        "ok": response,
        "request": {"parameters": [header], "requestBody": {"required": True, "description": said, "content": content}},
        "problems": _problems(*_OF_TENSORS, form="Protocol"),
    }


def _operation(settings: Settings) -> dict[str, Any]:
    tag = "Operation"
    # The page offers no form for what a browser may not do.
    reload = {"x-no-browsers": True} | _operation_of(
        tag, "reload", "Load model files again", _json("The versions that serve now.", ref("Reloads")),
        _problems(404, 422, *_OF_ANY_BODY) | {"405": {"$ref": "#/components/responses/405"}},
        description="For programs on the server's own machine; browsers are refused. 422 names the refused files; "
        "what served before still does.",
        requestBody={"content": {"application/json": {"schema": ref("ReloadRequest"), "example": {}}}},
    )  # fmt: skip
    return {
        "/metrics": {
            "get": _operation_of(tag, "metrics", "Counts and times for Prometheus", _text("As text.", "text/plain"))
        },
        "/openapi.json": {
            "get": _operation_of(tag, "openapi", "This description", _json("OpenAPI 3.1.", {"type": "object"}))
        },
        "/docs": {"get": _operation_of(tag, "docs", "This description as a page", _text("A page.", "text/html"))},
        "/": {"get": _operation_of(tag, "page", "A page to draw on", _text("A page.", "text/html"))},
    } | ({"/admin/reload": {"post": reload}} if settings.admin else {})
