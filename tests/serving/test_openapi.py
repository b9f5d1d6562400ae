"""The OpenAPI document: well formed, true to the server, and its schemas fit what the server says."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from cnnkit.serving.info import description
from cnnkit.serving.routes import ROUTES

Json = Any


@pytest.fixture(scope="module")
def api() -> Json:
    return description()


def inside(value: Json) -> Iterator[Json]:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from inside(child)


def resolved(api: Json, value: Json) -> Json:
    if "$ref" not in value:
        return value
    found = api
    for key in value["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return found


def operations(api: Json) -> list[tuple[str, str, Json]]:
    return [(path, method, each) for path, methods in api["paths"].items() for method, each in methods.items()]


def validator(api: Json, schema: Json) -> Draft202012Validator:
    # References start at the document's root, so that the schema is asked for from there.
    return Draft202012Validator({**schema, "components": api["components"]})


def test_every_reference_leads_somewhere(api: Json) -> None:
    references = {value["$ref"] for value in inside(api) if isinstance(value, dict) and "$ref" in value}
    assert len(references) > 30
    for reference in references:
        assert isinstance(resolved(api, {"$ref": reference}), dict)


def test_nothing_is_defined_for_nobody(api: Json) -> None:
    used = {value["$ref"] for value in inside(api) if isinstance(value, dict) and "$ref" in value}
    for kind in ("schemas", "parameters"):
        assert {f"#/components/{kind}/{name}" for name in api["components"][kind]} <= used


def test_every_operation_is_whole(api: Json) -> None:
    tags = {tag["name"] for tag in api["tags"]}
    identities = [operation["operationId"] for *_, operation in operations(api)]
    assert len(set(identities)) == len(identities)
    for path, _, operation in operations(api):
        assert set(operation["tags"]) <= tags
        assert operation["summary"]
        assert "200" in operation["responses"]
        parameters = [resolved(api, parameter) for parameter in operation.get("parameters", [])]
        in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        for response in (resolved(api, each) for each in operation["responses"].values()):
            assert response["description"]


def test_every_schema_is_one_and_every_example_fits(api: Json) -> None:
    for schema in api["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    media = [value for value in inside(api) if isinstance(value, dict) and {"schema", "example"} <= value.keys()]
    assert len(media) > 15
    for each in media:
        validator(api, each["schema"]).validate(each["example"])


def test_the_document_and_the_page_have_every_route(api: Json, client: httpx.Client) -> None:
    page = client.get("/docs").text
    for route in ROUTES:
        path = route.path.replace("/models/*", "/models/{model}").replace("versions/*", "versions/{version}")
        path = path.replace("/predict/*", "/predict/{model}")
        if path not in {"/v2/", "/*"}:
            assert route.method.lower() in api["paths"][path]
            assert f"<code>{route.method} {path.replace('/versions/{version}', '')}" in page


ANSWERS = [
    ("/models", "Models"),
    ("/v2", "ServerMetadata"),
    ("/v2/health/live", "Live"),
    ("/v2/health/ready", "Ready"),
    ("/v2/models/lenet", "ModelMetadata"),
    ("/v2/models/lenet/ready", "ModelReady"),
    ("/v2/models/lenet/config", "ModelConfig"),
    ("/v2/models/lenet/versions/1/stats", "Statistics"),
    ("/v2/models/stats", "Statistics"),
]


def strict(schema: Json) -> Json:
    """Return a schema that takes no field which it does not name."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    named = isinstance(made.get("properties"), dict) and "additionalProperties" not in made
    return made | ({"additionalProperties": False} if named else {})


@pytest.fixture(scope="module")
def served(server: Any) -> Json:
    return strict(httpx.get(f"{server.url}/openapi.json").json())


@pytest.mark.parametrize(("path", "name"), ANSWERS)
def test_the_server_answers_as_it_says(client: httpx.Client, served: Json, path: str, name: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    validator(served, {"$ref": f"#/components/schemas/{name}"}).validate(response.json())


def test_a_prediction_is_as_described(client: httpx.Client, served: Json, seven: bytes) -> None:
    for query in ("", "?top=2&show=input,features"):
        answer = client.post(f"/predict/digits{query}", content=seven).json()
        validator(served, {"$ref": "#/components/schemas/Prediction"}).validate(answer)


def test_requests_and_answers_of_the_protocol_are_as_described(client: httpx.Client, served: Json) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28, 1], "data": [0] * 784}
    wanted = [{"name": "logits"}, {"name": "probabilities", "parameters": {"classification": 3}}]
    for request in ({"inputs": [tensor]}, {"id": "7", "inputs": [tensor], "outputs": wanted}):
        validator(served, {"$ref": "#/components/schemas/InferRequest"}).validate(request)
        answer = client.post("/v2/models/lenet/infer", json=request).json()
        validator(served, {"$ref": "#/components/schemas/InferResponse"}).validate(answer)
    index = client.post("/v2/repository/index", json={"ready": True}).json()
    validator(served, {"$ref": "#/components/schemas/RepositoryIndex"}).validate(index)


@pytest.mark.parametrize(
    ("path", "content", "status", "name"),
    [
        ("/predict/nobody", b"", 404, "Error"),
        ("/predict/lenet", b"GIF89a", 415, "Error"),
        ("/predict/lenet?top=0", b"x", 400, "Error"),
        ("/v2/models/nobody/infer", b"{}", 404, "ProtocolError"),
        ("/v2/models/lenet/infer", b"{", 400, "ProtocolError"),
        ("/v2/models/lenet/infer", b'{"inputs": []}', 422, "ProtocolError"),
    ],
)
def test_errors_are_as_described(
    client: httpx.Client, served: Json, path: str, content: bytes, status: int, name: str
) -> None:
    response = client.post(path, content=content)
    assert response.status_code == status
    validator(served, {"$ref": f"#/components/schemas/{name}"}).validate(response.json())


def test_every_path_that_is_described_is_there(client: httpx.Client, served: Json) -> None:
    for path, method, operation in operations(served):
        if path == "/admin/reload":  # only with --admin
            continue
        address = path.format(model="lenet", version="1")
        other = {"get": "DELETE", "post": "PUT"}[method]
        assert client.request(other, address).status_code == 405
        if method == "get":
            assert client.get(address).status_code == 200, operation["summary"]
