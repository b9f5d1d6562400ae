"""An image as a form, in JSON, or as it is."""

import contextlib
import tracemalloc
import zlib
from base64 import b64encode, urlsafe_b64encode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.serving.http.body import decompressed, image_of
from cnnkit.serving.http.errors import HttpError

TEXT = b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\na note\r\n'


def part(content, disposition='form-data; name="file"; filename="a.png"'):
    head = f"--x\r\nContent-Disposition: {disposition}\r\nContent-Type: image/png\r\n\r\n".encode()
    return head + content + b"\r\n"


def post(client, body, kind="multipart/form-data; boundary=x"):
    return client.post("/predict/digits", content=body, headers={"content-type": kind})


@pytest.mark.parametrize("field", ["file", "image", "x y"])
def test_a_form_with_one_file_is_taken(client, seven, field):
    answer = client.post("/predict/digits", files={field: ("seven.png", seven)}, data={"note": "a field"})
    assert answer.json()["label"] == "7"


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", 'Multipart/Form-Data; charset=utf-8; Boundary="x"']
)
def test_a_form_is_read_as_rfc_7578_writes_it(client, seven, kind):
    form = b"preamble\r\n" + TEXT + part(seven) + b"--x--\r\nepilogue"
    assert post(client, form, kind).json()["label"] == "7"
    bare = part(seven, 'form-data; name="image"') + b"--x--"
    assert post(client, bare, kind).json()["label"] == "7"


def test_a_file_may_hold_what_looks_like_a_boundary(client, seven):
    content = seven + b"--x\r\n--x--\r\n x"  # after the end of the PNG, and not at the beginning of a line
    assert post(client, part(content.replace(b"\r\n--x--", b"--x--")) + b"--x--\r\n").json()["label"] == "7"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda png: part(png) + part(png) + b"--x--\r\n", "2 files"),
        (lambda png: TEXT + TEXT + b"--x--\r\n", "2 files"),
        (part, "boundary must end it"),
        (lambda png: part(png)[: len(png) // 2], "boundary must end it"),
        (lambda png: b"--x--\r\n", "no complete part"),
        (lambda png: b"--x\r\n\r\n" + png + b"\r\n--x--\r\n", "lacks its name"),
        (lambda png: TEXT * 100 + part(png) + b"--x--\r\n", "more than 32"),
    ],
)
def test_another_form_is_told_why(client, seven, form, said):
    answer = post(client, form(seven))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "form")
    assert said in answer.json()["error"]["message"]


def test_a_form_without_a_boundary_is_none(client, seven):
    answer = post(client, part(seven) + b"--x--", "multipart/form-data")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "form")


def test_json_holds_an_image_in_base64(client, seven):
    text = b64encode(seven).decode()
    for image in (text, f"data:image/png;base64,{text}", "\n".join((text[:70], text[70:]))):
        assert client.post("/predict/digits", json={"image": image}).json()["label"] == "7"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"image": "?"}, "json"),
        ({"image": 7}, "json"),
        ({"picture": "aGk="}, "json"),
        ({"image": "aGk=", "top": 3}, "json"),
        ([], "json"),
        ({"image": ""}, "empty-body"),
        ({"image": urlsafe_b64encode(b"\xff\xfe\xfd").decode()}, "json"),
    ],
)
def test_other_json_is_told_what_is_expected(client, document, code):
    answer = client.post("/predict/digits", json=document)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


def test_base64_may_be_escaped_and_wrapped_in_any_way(client, seven):
    text = b64encode(seven).decode()
    wrapped = "\\n ".join(text[start : start + 76] for start in range(0, len(text), 76))
    for body in (f'{{"image": "{text}"}}'.replace("/", "\\/"), f'{{"image":"{wrapped}"}}'):
        assert post(client, body, "application/json").json()["label"] == "7"


@pytest.mark.parametrize(
    ("kind", "begin", "repeated", "end"),
    [
        (b"multipart/form-data", b"--x\r\n", b"a\r\n", b"\r\n--x--"),
        (b"application/json", b'{"image":[', b"[],", b"0]}"),
        (b"application/json", b'{"image":', b'{"":', b""),
        (b"application/json", b"{", b'"a":"",', b'"image":""}'),
        (b"application/json", b'{"image":"', b"a ", b'"}'),
    ],
)
def test_a_body_of_many_small_things_holds_nobody_up(kind, begin, repeated, end):
    body = begin + repeated * (8 * 2**20 // len(repeated)) + end
    tracemalloc.start()
    try:
        with contextlib.suppress(HttpError):
            image_of(body, kind, kind + b"; boundary=x")
        # Objects for all of its parts would take many times as much.
        assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
    finally:
        tracemalloc.stop()


def test_what_curl_makes_of_a_file_is_told_how_to_send_it(client, seven):
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/predict/digits", content=seven, headers=kind).json()["label"] == "7"  # --data-binary
    spoilt = seven.replace(b"\n", b"").replace(b"\r", b"")  # -d
    answer = client.post("/predict/digits", content=spoilt, headers=kind)
    assert answer.status_code == 415
    assert "--data-binary" in answer.json()["error"]["message"]
    assert "-F" in answer.json()["error"]["message"]


def test_a_form_is_capped_as_any_body(hasty, seven):
    answer = httpx.post(f"{hasty.url}/predict/lenet", files={"file": bytes(20_000)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body-too-large")


@settings(max_examples=60, deadline=None)
@given(
    content=st.builds(lambda few, times: few * times, st.binary(max_size=40), st.integers(0, 2**14)),
    window=st.sampled_from([31, 15, -15]),
    level=st.integers(0, 9),
    follows=st.sampled_from([b"", b"\0", b"more"]),
    cut=st.integers(0, 20),
)
def test_a_compressed_body_is_one_whole_stream(content, window, level, follows, cut):
    packer = zlib.compressobj(level, wbits=window)
    body = packer.compress(content) + packer.flush()
    encoding = b"gzip" if window == 31 else b"deflate"
    assert decompressed(body, encoding, len(content)) == content
    for broken in (body + follows, body[: len(body) - cut]):
        if broken != body:
            with pytest.raises(HttpError) as caught:
                decompressed(broken, encoding, len(content))
            assert caught.value.status == 400
    if content:
        with pytest.raises(HttpError) as caught:
            decompressed(body, encoding, len(content) - 1)
        assert caught.value.code == "body-too-large"
