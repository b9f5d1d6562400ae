import pytest

GETS = [
    "/v2/health/live",
    "/v2/health/ready",
    "/v2",
    "/v2/models/lenet",
    "/v2/models/lenet/ready",
    "/models",
    "/metrics",
]


@pytest.mark.parametrize("path", GETS)
def test_what_can_be_got_can_be_asked_for_its_head(client, path):
    got, head = client.get(path), client.head(path)
    assert (got.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", GETS)
def test_what_can_be_got_takes_nothing(client, path):
    answer = client.post(path, content=b"x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("path", "flat"),
    [
        ("/nothing", False),
        ("/v2/nothing", True),
        ("/v2/models/x", True),
        ("/models/%2F/GET", False),
        ("/models/%2F/GET/x", False),
        ("/None", False),
    ],
)
def test_an_error_has_one_form_and_the_protocol_its_own(client, path, flat):
    answer = client.get(path)
    body = answer.json()
    assert answer.status_code == 404
    error = body if flat else body["error"]
    assert isinstance(body["error"], str if flat else dict)
    assert error["code"] in {"not-found", "unknown-model"}
    assert error["request_id"] == answer.headers["x-request-id"]


def test_a_request_keeps_the_id_that_it_came_with(client, seven):
    answer = client.post("/predict/digits", content=seven, headers={"x-request-id": "order-66"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "order-66"


@pytest.mark.parametrize("given", ["", "x" * 129, "a b"])
def test_an_id_that_would_spoil_a_log_is_replaced(client, given):
    answers = [client.get("/v2", headers={"x-request-id": given}).headers["x-request-id"] for _ in range(2)]
    assert given not in answers
    assert answers[0] != answers[1]


def test_the_models_say_what_the_page_needs(client):
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert list(models) == ["lenet", "digits", "shapes-cnn"]
    assert models["shapes-cnn"]["input"] == {
        "channels": 3, "height": 28, "width": 28, "fit": "contain", "polarity": "as-is",
    }  # fmt: skip
    assert models["digits"]["labels"] == list("0123456789")
    assert models["digits"]["engine"] == "onnxruntime CPU"
    assert models["digits"]["features"] is True
