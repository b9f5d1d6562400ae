"""Who may ask: hosts, API keys, pages of other origins."""

import httpx
import pytest

from cnnkit.serving.settings import Settings
from tests.serving.test_pressure import answer_of, connect

ORIGIN = "https://app.example:8443"


@pytest.fixture(scope="module")
def guarded(serve_forever, tmp_path_factory):
    """A server with keys, and pages of one origin."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_bytes(b"\xef\xbb\xbf# keys, as editors on Windows write them\r\nfirst-key\r\n\r\nsecond-key \r\n")
    return serve_forever("digits", "--api-key", "third-key", "--api-key-file", path, "--cors", ORIGIN, "--admin")


def head_of(url, host, path="/v2/health/live", version="1.1"):
    with connect(url) as client:
        client.sendall(f"GET {path} HTTP/{version}\r\n{host}\r\n".encode())
        return answer_of(client)


@pytest.mark.parametrize(
    "host",
    ["", "Host:\r\n", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a, b\r\n", "Host: u@a\r\n", "Host: a:x\r\n"],
)
def test_a_request_names_one_host(server, host):
    status, headers, body = head_of(server.url, host)
    assert (status, headers["connection"], body["code"]) == (400, "close", "http")


@pytest.mark.parametrize(
    "name",
    ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]", "192.168.1.2", "cnnkit", "app.localhost", "localhost."],
)
def test_a_loopback_server_is_asked_by_addresses_and_names_of_this_machine(server, name):
    assert head_of(server.url, f"Host: {name}\r\n")[0] == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_a_name_that_was_pointed_at_a_loopback_server_is_refused(server, name):
    status, _, body = head_of(server.url, f"Host: {name}\r\n")
    assert (status, body["code"]) == (421, "host")
    assert head_of(server.url, "Host: localhost\r\n", f"http://{name}/v2")[0] == 421


def test_a_whole_uri_does_not_take_the_place_of_host(server):
    assert head_of(server.url, "", "http://localhost/v2")[0] == 400
    assert head_of(server.url, "", "http://localhost/v2", "1.0")[0] == 200


@pytest.mark.parametrize("name", ["[::1]", "[::1]:80", "127.0.0.1", "LOCALHOST:8000", "localhost."])
def test_a_program_on_this_machine_reloads_by_any_of_its_names(guarded, name):
    with connect(guarded.url) as client:
        client.sendall(f"POST /admin/reload HTTP/1.1\r\nHost: {name}\r\nX-API-Key: first-key\r\n\r\n".encode())
        assert answer_of(client)[0] == 200


def test_a_server_of_the_network_is_asked_by_any_name(serve):
    url = serve("digits", "--host", "0.0.0.0").url.replace("0.0.0.0", "127.0.0.1")
    assert head_of(url, "Host: cnnkit.example.org\r\n")[0] == 200


def test_the_first_http_needs_no_host(server):
    status, headers, _ = head_of(server.url, "", version="1.0")
    assert (status, headers["connection"]) == (200, "close")
    status, headers, _ = head_of(server.url, "Connection: keep-alive\r\n", version="1.0")
    assert (status, headers["connection"]) == (200, "keep-alive")


@pytest.mark.parametrize(
    "headers",
    [{"authorization": "Bearer first-key"}, {"authorization": "bearer  second-key"}, {"x-api-key": "third-key"}],
)
def test_a_key_opens(guarded, seven, headers):
    answer = httpx.post(f"{guarded.url}/predict/digits", content=seven, headers=headers)
    assert answer.json()["label"] == "7"


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer"}, {"authorization": "Bearer first-ke"}, {"authorization": "Basic first-key"},
     {"x-api-key": ""}, {"x-api-key": "first-key,second-key"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/predict/digits", "/predict/unknown", "/v2/models/digits/infer"])
def test_without_one_nothing_is_told(guarded, seven, path, headers):
    answer = httpx.post(guarded.url + path, content=seven, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="cnnkit"')
    assert "api-key" in answer.text
    assert "digits" not in answer.text


def test_health_and_the_page_need_no_key(guarded):
    for path in ("/", "/page.css", "/docs", "/v2/health/live", "/v2/health/ready"):
        assert httpx.get(guarded.url + path).status_code == 200
    for path in ("/models", "/metrics", "/v2", "/v2/models/digits", "/v2/models/stats"):
        assert httpx.get(guarded.url + path).status_code == 401
    assert httpx.post(f"{guarded.url}/admin/reload").status_code == 401
    assert httpx.get(f"{guarded.url}/openapi.json").json()["security"]


def test_a_page_of_an_allowed_origin_may_ask_and_read(guarded, seven):
    asked = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    before = httpx.options(f"{guarded.url}/predict/digits", headers=asked)
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert "POST" in before.headers["access-control-allow-methods"]
    assert {"x-api-key", "content-type"} <= set(before.headers["access-control-allow-headers"].lower().split(", "))
    for headers in ({}, {"x-api-key": "first-key"}):  # the page sees why it is refused, too
        answer = httpx.post(f"{guarded.url}/predict/digits", content=seven, headers={"origin": ORIGIN} | headers)
        assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (ORIGIN, "Origin")


@pytest.mark.parametrize("origin", ["https://app.example", "http://app.example:8443", "null", "https://evil.example"])
def test_a_page_of_another_origin_may_not(guarded, origin):
    asked = {"origin": origin, "access-control-request-method": "POST"}
    for answer in (
        httpx.options(f"{guarded.url}/predict/digits", headers=asked),
        httpx.get(f"{guarded.url}/v2/health/live", headers=asked),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_no_page_reloads_models(guarded):
    headers = {"origin": ORIGIN, "x-api-key": "first-key"}
    for path in ("/admin/reload", "/%61dmin/reload"):
        answer = httpx.post(guarded.url + path, headers=headers)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stats=digits",), "Give it another: 'NAME=digits'"),
        (("--cors", "app.example"), "not an origin"),
        (("--cors", "https://app.example/"), "not an origin"),
        (("--cors", "https://App.example"), "not an origin"),
        (("--cors", "https://*.example"), "not an origin"),
        (("--cors", "https://app.example:443"), "not an origin"),
        (("--cors", "http://app.example:80"), "not an origin"),
        (("--api-key", "two words"), "API key"),
        (("--api-key", ""), "API key"),
        (("--api-key-file", "absent"), "cannot be read"),
    ],
)
def test_settings_that_make_no_sense_are_refused(cli, arguments, said):
    done = cli("serve", "digits", *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize("origin", ["https://a.example:80", "http://[::1]:3000", "http://localhost:5173", "*", "null"])
def test_what_browsers_send_is_an_origin(cli, origin):
    done = cli("serve", "stats=digits", "--cors", origin)  # which is refused after the settings are looked at
    assert "origin" not in done.stderr
    assert done.exit_code == 2


def test_settings_do_not_show_their_keys():
    assert "secret" not in repr(Settings(api_keys=("secret",)))


def test_a_file_without_keys_does_not_open_the_server(cli, tmp_path):
    (tmp_path / "keys").write_text("# none yet\n\n")
    done = cli("serve", "digits", "--api-key-file", tmp_path / "keys")
    assert (done.exit_code, "has no key" in done.stderr) == (2, True)
