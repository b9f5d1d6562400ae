import asyncio
import gzip

import pytest

from cnnkit.serving.problems import Problem
from cnnkit.serving.receiving import Receiver
from cnnkit.serving.settings import Settings


def receive_all(receiver, scope, *pieces):
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b""})

    async def receive():
        return messages.pop(0)

    return asyncio.run(receiver.body(scope, receive))


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [((b"x" * 400, b"y" * 600), []), ((gzip.compress(bytes(1000)),), [(b"content-encoding", b"gzip")])],
    ids=["plain", "gzip"],
)
def test_all_bodies_together_are_bounded_until_they_are_answered(pieces, headers):
    receiver = Receiver(Settings(max_body=1000))
    scopes = [{"headers": headers} for _ in range(17)]
    for scope in scopes[:16]:
        assert len(receive_all(receiver, scope, *pieces)) == 1000
    with pytest.raises(Problem, match="as it can") as caught:
        receive_all(receiver, scopes[16], *pieces)
    assert (caught.value.status, caught.value.code) == (503, "memory")
    for scope in scopes:
        receiver.release(scope)
        receiver.release(scope)
    assert len(receive_all(receiver, scopes[16], *pieces)) == 1000
