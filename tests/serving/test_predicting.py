import io
import struct
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

import cnnkit
from tests.serving.conftest import wait_until
from tests.serving.test_pressure import queue_length


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_an_image_gets_what_predict_says_of_it(client, seven):
    answer = client.post("/predict/digits", content=seven).json()
    predicted = cnnkit.load("digits", device="cpu").predict([seven])[0]
    assert answer["label"] == predicted.label == "7"
    assert answer["preprocessing"] == list(predicted.steps)
    assert [(one["label"], one["probability"]) for one in answer["probabilities"]] == [
        (score.label, pytest.approx(score.probability, abs=1e-6)) for score in predicted.scores
    ]
    assert answer["probability"] == answer["probabilities"][0]["probability"]
    assert (answer["model"], answer["version"], answer["batch_size"]) == ("digits", "1", 1)


def test_the_stages_take_no_longer_than_the_whole(client, seven):
    timings = client.post("/predict/digits", content=seven).json()["timings_ms"]
    assert list(timings) == ["queue", "decode", "inference", "total"]
    assert min(timings.values()) > 0
    assert timings["queue"] + timings["decode"] + timings["inference"] <= timings["total"]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_every_format_is_taken(client, seven, form):
    image = Image.open(io.BytesIO(seven)).convert("RGB")
    assert client.post("/predict/digits", content=encoded(image, form)).json()["label"] == "7"


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PPM", "PDF"])
def test_no_other_format_is(client, seven, form):
    answer = client.post("/predict/digits", content=encoded(Image.open(io.BytesIO(seven)).convert("RGB"), form))
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "image-format")
    assert "PNG, JPEG, WEBP" in answer.json()["error"]["message"]


def test_a_network_of_three_channels_takes_colours(client):
    drawing = Image.new("RGB", (60, 60), "white")
    drawing.paste("navy", (15, 15, 45, 45))
    answer = client.post("/predict/shapes-cnn", content=encoded(drawing, "PNG"), params={"top": 2}).json()
    assert {one["label"] for one in answer["probabilities"]} < {"circles", "squares", "triangles"}
    assert len(answer["probabilities"]) == 2


def test_top_is_at_most_all_classes(client, seven):
    answer = client.post("/predict/digits", content=seven, params={"top": 5000}).json()
    assert sorted(one["label"] for one in answer["probabilities"]) == list("0123456789")
    assert sum(one["probability"] for one in answer["probabilities"]) == pytest.approx(1)


def test_the_input_and_the_feature_maps_are_shown_where_they_are_asked_for(client, seven):
    plain = client.post("/predict/digits", content=seven).json()
    shown = client.post("/predict/digits", content=seven, params={"show": "input,features"}).json()
    assert not {"input", "features"} & plain.keys()
    picture = Image.open(io.BytesIO(_png(shown["input"]["png"])))
    assert (picture.mode, picture.size) == ("L", (28, 28))
    assert np.asarray(picture)[0].max() == 0
    for layer in shown["features"]:
        sheet = Image.open(io.BytesIO(_png(layer["png"])))
        assert sheet.width == layer["columns"] * (layer["width"] + 1) - 1
    assert {layer["operator"] for layer in shown["features"]} == {"Conv", "MaxPool"}


def _png(uri):
    import base64

    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return base64.b64decode(content, validate=True)


def test_a_large_image_is_decoded_beside_the_batches(client):
    photo = Image.effect_noise((2000, 1500), 40)
    photo.paste(0, (900, 300, 1000, 1200))
    answer = client.post("/predict/digits", content=encoded(photo, "JPEG")).json()
    assert answer["timings_ms"]["decode"] > 5


def test_requests_at_the_same_time_share_batches(gated, gate, seven):
    server = gated()
    with ThreadPoolExecutor(17) as pool:
        posts = [pool.submit(httpx.post, f"{server.url}/predict/slow", content=seven, timeout=60) for _ in range(17)]
        wait_until(lambda: queue_length(server) == 17)
        gate.unlink()
        answers = [post.result().json() for post in posts]
    assert {answer["label"] for answer in answers} == {"7"}
    # One batch was begun before the others came.
    sizes = Counter(answer["batch_size"] for answer in answers)
    assert len(sizes) <= 2
    assert sizes == {size: size for size in sizes}


CURL = {"content-type": "application/x-www-form-urlencoded"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
BAD = {
    "an unknown model": ("/predict/dgits", b"x", {}, 404, "unknown-model", "Did you mean digits?"),
    "no model": ("/predict/", b"x", {}, 404, "unknown-model", "there is no model ''"),
    "an empty body": ("/predict/digits", b"", {}, 400, "empty-body", "curl --data-binary"),
    "what is no image": ("/predict/digits", b"hello", {}, 415, "image-format", "is not an image"),
    "a damaged image": ("/predict/digits", None, {}, 422, "image", "damaged"),
    "a damaged image, as curl sends it": ("/predict/digits", None, CURL, 422, "image", "damaged"),
    "a PNG without an end": ("/predict/digits", b"\x89PNG\r\n\x1a\n\0", {}, 415, "image-format", "as a PNG of 8"),
    "a GIF": ("/predict/digits", b"GIF89a" + bytes(40), {}, 415, "image-format", "is a GIF file"),
    "JSON without its type": ("/predict/digits", b'{"image": "x"}', CURL, 415, "image-format", "application/json"),
    "a form without its boundary": ("/predict/digits", b"abc", FORM, 400, "form", "boundary"),
    "an empty form": ("/predict/digits", b"", FORM, 400, "form", "boundary"),
    "a text": ("/predict/digits", b"x", {"content-type": "text/plain"}, 415, "content-type", "--data-binary"),
    "a top of nothing": ("/predict/digits?top=0", b"x", {}, 400, "query", "top is '0'"),
    "a top that is no number": ("/predict/digits?top=²", b"x", {}, 400, "query", "top is"),
    "an empty top": ("/predict/digits?top=", b"x", {}, 400, "query", "top is ''"),
    "an empty field": ("/predict/digits?tpo=", b"x", {}, 400, "query", "'tpo'"),
    "a huge top": ("/predict/digits?top=99999999999999999999", b"x", {}, 400, "query", "top is"),
    "a word too many": ("/predict/digits?topp=3", b"x", {}, 400, "query", "'topp'"),
    "what cannot be shown": ("/predict/digits?show=input,weights", b"x", {}, 400, "query", "'weights'"),
    "an unknown encoding": ("/predict/digits", b"x", {"content-encoding": "br"}, 415, "content-encoding", "gzip"),
    "a broken encoding": ("/predict/digits", b"x", {"content-encoding": "gzip"}, 400, "content-encoding", "of gzip"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_code_and_a_sentence(client, seven, name):
    path, body, headers, status, code, said = BAD[name]
    body = seven[: len(seven) // 2] if body is None else body
    answer = client.post(path, content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert said in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


def test_another_method_is_told_which(client):
    answer = client.get("/predict/digits")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert answer.json()["error"]["code"] == "method"


def test_an_image_over_the_cap_of_pixels_is_refused(serve, seven):
    server = serve("digits", "--max-pixels", 10_000)
    small = encoded(Image.open(io.BytesIO(seven)).resize((90, 90)).convert("L"), "PNG")
    assert httpx.post(f"{server.url}/predict/digits", content=small).json()["label"] == "7"
    answer = httpx.post(f"{server.url}/predict/digits", content=seven, headers=CURL)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image-too-large")
    assert "118,524" in answer.json()["error"]["message"]


def test_a_picture_that_may_mislead_the_network_is_warned_of(client, seven):
    blank = encoded(Image.new("L", (28, 28), 255), "PNG")
    assert client.post("/predict/digits", content=blank).json()["warnings"] == ["the picture is blank"]
    assert client.post("/predict/digits", content=seven).json()["warnings"] == []


def test_an_image_over_the_cap_is_refused_before_its_texts_are_read(client, seven):
    text = zlib.compress(bytes(2**20))
    # Pillow refuses that much text, so that another error would show that it was read.
    many = b"".join(chunk(b"zTXt", b"a" + str(number).encode() + b"\0\0" + text) for number in range(70))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 8000, 8, 0, 0, 0, 0))
    answer = client.post("/predict/digits", content=seven[:8] + head + many + seven[33:])
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "image-too-large")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
