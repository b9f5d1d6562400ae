def test_a_browser_asks_for_the_page_each_time(client):
    page = client.get("/")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
    assert client.get("/index.html").content == page.content


def test_only_files_of_the_page_are_sent(client):
    found = [client.get(path).status_code for path in ("/app.py", "/..%2fapp.py", "/%2e%2e/app.py")]
    assert found == [404] * 3
