"""What keeps `cnnkit serve` from granian: requests that it loses when it stops, and errors without a body.

    pip install granian && python scripts/check_granian.py [--sigterms 60]

A small ASGI application under granian's embedded server drains as well as an application can: on SIGTERM it says
`Connection: close` with every answer for a second, then stops the server. 24 clients ask all the time. A request counts
as lost when its connection was made and no answer came. Then malformed requests are sent, and their answers shown.
"""

import argparse
import asyncio
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

from serving.clients import Client, LostError
from serving.servers import free_port

CLIENTS = 24
REQUEST = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 200\r\n\r\n" + b"x" * 200
MALFORMED = {
    "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "headers of 500 KB": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 500_000 + b"\r\n\r\n",
    "a head that never ends": b"GET / HT",
}


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    stop = asyncio.Event()

    async def app(_: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(0.002)
        headers = [(b"content-length", b"2"), *([(b"connection", b"close")] if stop.is_set() else [])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    server = Server(
        app, "127.0.0.1", port, interface=Interfaces.ASGINL, http=HTTPModes.http1, websockets=False, backlog=1024,
        log_enabled=False, http1_settings=HTTP1Settings(header_read_timeout=2000),
    )  # fmt: skip
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    serving = asyncio.create_task(server.serve())
    await stop.wait()
    await asyncio.sleep(1)
    server.stop()
    await serving


def ask(port: int, found: Counter[str], pauses: bool) -> None:
    """Ask until nobody listens any more."""
    with Client(port, 10) as client:
        while True:
            time.sleep(random.uniform(0, 0.004) if pauses else 0)  # noqa: S311
            try:
                client.connect()
                client.ask(REQUEST)
                found["answered"] += 1
            except LostError as lost:
                found["crossed" if lost.late else "lost"] += 1
            except OSError:
                return


def start(port: int) -> subprocess.Popen[bytes]:
    """Start the server and wait for its port."""
    process = subprocess.Popen([sys.executable, __file__, "--port", str(port)])
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return process


def main() -> None:
    """Stop it again and again, then send what is no request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sigterms", type=int, default=60)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.port:
        import uvloop

        uvloop.run(serve(given.port))
        return
    total: Counter[str] = Counter()
    for _ in range(given.sigterms):
        port, found = free_port(), Counter[str]()
        process = start(port)
        threads = [threading.Thread(target=ask, args=(port, found, index % 2)) for index in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.1, 0.5))  # noqa: S311
        process.terminate()
        process.wait(30)
        for thread in threads:
            thread.join()
        total += found
    print(f"{given.sigterms} SIGTERMs: {dict(total)}")
    process = start(port := free_port())
    for name, sent in MALFORMED.items():
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(sent)
            print(f"{name}: {client.recv(1000)!r}")
    process.terminate()
    process.wait(30)


if __name__ == "__main__":
    main()
