"""`POST /v2/models/NAME/infer`: tensors in, tensors out, by the Open Inference Protocol."""

import asyncio
import gzip
import zlib

from cnnkit.serving.answering import Answering
from cnnkit.serving.batching import Batcher, Job
from cnnkit.serving.open_inference import HEADER_LENGTH, InferRequest, decode_request, encode_response
from cnnkit.serving.problems import Problem
from cnnkit.serving.receiving import Receive, Scope
from cnnkit.serving.replies import JSON, Reply

_LENGTH = HEADER_LENGTH.lower().encode()
_BINARY = b"application/octet-stream"
_LARGE_BODY = 2**16
"""Bytes: more take a while to read; less would only pay for the way to another thread."""
_LARGE_ANSWER = 2**13
"""Elements of all outputs: the same for writing."""


class Inferring(Answering):
    """Serves inference requests of the protocol."""

    async def answer(self, scope: Scope, receive: Receive, name: str, version: str) -> Reply:
        """Answer a request for a model, and for a version of it where that is not empty.

        Raises:
            Problem, ClientGoneError, CnnkitError: it cannot be served.
        """
        batcher = self.repository.batcher(name)
        require_version(batcher, version)
        batcher.require_place()
        headers = dict(scope["headers"])
        body = await self.receiver.body(scope, receive)
        model = batcher.model
        length = _json_length(headers.get(_LENGTH))
        arguments = (body, length, model.inputs, model.outputs)
        large = len(body) > _LARGE_BODY
        request = await asyncio.to_thread(decode_request, *arguments) if large else decode_request(*arguments)
        outputs = tuple(output.name for output in request.outputs)
        inputs = request.inputs[model.network.input]
        job = Job(asyncio.get_running_loop().create_future(), outputs, inputs=inputs)
        batcher.submit(job)
        seconds = min(self.settings.answer_seconds, request.timeout_seconds or float("inf"))
        await self.waiting.answer(job, receive, seconds)
        accepted = headers.get(b"accept-encoding", b"")
        large = sum(rows.size for rows in job.rows.values()) > _LARGE_ANSWER
        return await asyncio.to_thread(_reply, request, job, accepted) if large else _reply(request, job, accepted)


def require_version(batcher: Batcher, version: str) -> None:
    """Make sure that a version, where one is named, is the one that serves.

    Raises:
        Problem: 404; it is not.
    """
    serving = str(batcher.model.version)
    if version and version != serving:
        message = f"{batcher.model.name} has no version {version[:40]!r}; version {serving} serves."
        raise Problem(404, "unknown-version", message)


def _reply(request: InferRequest, job: Job, accepted: bytes) -> Reply:
    name, version, labels = job.model.name, str(job.model.version), job.model.classifier.card.labels
    content, json_length = encode_response(request, name, version, job.rows, labels)
    extra = () if json_length is None else ((_LENGTH, str(json_length).encode()),)
    content, encoding = _compressed(content, accepted)
    return Reply(content, JSON if json_length is None else _BINARY, headers=(*extra, *encoding), model=name)


def _json_length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not (value.isdigit() and len(value) < 19):
        raise Problem(400, "json", f"{HEADER_LENGTH} is {value[:40].decode('latin-1')!r}; expected a number of bytes.")
    return int(value)


def _compressed(content: bytes, accepted: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Compress an answer in the way that the client asks for; Triton's names one, and browsers never come here."""
    wanted = accepted.lower()
    if wanted == b"gzip":
        return gzip.compress(content, 1), ((b"content-encoding", b"gzip"),)
    if wanted == b"deflate":
        return zlib.compress(content, 1), ((b"content-encoding", b"deflate"),)
    return content, ()
