from cnnkit.serving.http.inflight import InFlight
from cnnkit.serving.http.request import Request


def test_all_bodies_together_are_bounded_until_they_are_answered():
    inflight = InFlight(max_body=1000)
    requests = [Request("POST", b"/", {}, "127.0.0.1", "1.1", keep_alive=True) for _ in range(17)]
    for request in requests[:16]:
        request.body = b"body"
        assert inflight.hold(request, 400)
        assert inflight.hold(request, 1000)
    assert not inflight.hold(requests[16], 1000)
    for request in requests:
        inflight.release(request)
        inflight.release(request)
        assert not request.body  # which would stay until the garbage is collected
    assert inflight.hold(requests[16], 1000)
