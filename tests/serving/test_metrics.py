import re

import httpx

from tests.serving.conftest import urlopen


def values(url):
    with urlopen(f"{url}/metrics") as answer:
        return parsed(answer.read().decode())


def parsed(text):
    found = re.findall(r"^(cnnkit_\w+)(?:\{(.*)\})? (\S+)$", text, re.M)
    return {(name, labels): float(value) for name, labels, value in found}


def test_requests_refusals_batches_and_stages_are_counted(serve, seven):
    url = serve("digits", "--max-batch", 4).url
    for _ in range(3):
        httpx.post(f"{url}/predict/digits", content=seven)
    httpx.post(f"{url}/predict/digits", content=b"no image")
    httpx.post(f"{url}/predict/made-up", content=b"x")
    httpx.get(f"{url}/v2/models/digits/ready")
    found = values(url)
    assert found["cnnkit_requests_total", 'endpoint="predict",model="digits",status="200"'] == 3
    assert found["cnnkit_requests_total", 'endpoint="predict",model="digits",status="415"'] == 1
    assert found["cnnkit_requests_total", 'endpoint="predict",model="",status="404"'] == 1
    assert found["cnnkit_batch_size_sum", 'model="digits"'] == 3
    assert found["cnnkit_queue_length", 'model="digits"'] == 0
    for stage in ("queue", "decode", "inference", "total"):
        assert found["cnnkit_stage_seconds_sum", f'model="digits",stage="{stage}"'] > 0
    assert found["cnnkit_stage_seconds_count", 'model="digits",stage="total"'] == 3
    # The provider is what the session says that it runs on.
    assert found["cnnkit_model_info", 'model="digits",precision="fp32",provider="CPU",version="1"'] == 1
    assert not any("made-up" in labels for _, labels in found)
    assert "process_resident_memory_bytes" in httpx.get(f"{url}/metrics").text
