import pytest


@pytest.mark.parametrize("weak", ["", "W/"], ids=["as it came", "as a proxy that compresses makes it"])
def test_a_browser_that_has_the_page_is_not_sent_it_again(client, weak):
    first = client.get("/")
    assert first.status_code == 200
    again = client.get("/", headers={"if-none-match": f'"other", {weak}{first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert "content-length" not in again.headers
    changed = client.get("/", headers={"if-none-match": '"other"'})
    assert (changed.status_code, changed.content) == (200, first.content)


def test_only_files_of_the_page_are_sent(client):
    found = [client.get(path).status_code for path in ("/app.py", "/..%2fapp.py", "/%2e%2e/app.py")]
    assert found == [404] * 3
