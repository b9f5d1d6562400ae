"""The lines that the server writes to standard error: text for people, or JSON for what collects them."""

import json
import logging
import re
import sys
import time
from typing import Any, Literal

from cnnkit.errors import DeviceWarning

LOGGER = "cnnkit.serving"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(form: Literal["text", "json"]) -> None:
    """Send the server's log, asyncio's complaints and Python's warnings to standard error in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for name, level in (
        (LOGGER, logging.INFO),
        ("asyncio", logging.ERROR),
        ("py.warnings", logging.WARNING),
    ):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    logging.captureWarnings(True)


def _said(record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.name == "py.warnings" and DeviceWarning.__name__ in message:
        # Where in the code it was found out is of no use to those who run the server.
        message = message.partition(f"{DeviceWarning.__name__}: ")[2].splitlines()[0]
    return message


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    # Other libraries mark records with names of their own.
    return {key: value for key, value in vars(record).items() if key not in _OWN and not key.startswith("_")}


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # The event and the address are for programs; the message says them.
        extra = " ".join(
            f"{key}={json.dumps(value, ensure_ascii=False) if ' ' in str(value) else value}"
            for key, value in _extra(record).items()
            if key not in {"event", "url"}
        )
        line = f"{_time(record)} {record.levelname.lower():7} {_said(record)}{'  ' if extra else ''}{extra}"
        # What a client sent must neither begin a line of its own nor command the terminal.
        line = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], line)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {"time": _time(record), "level": record.levelname.lower(), "message": _said(record), **_extra(record)}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)
