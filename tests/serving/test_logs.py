import json
import logging
import sys

import pytest

from cnnkit.serving.process import logs
from cnnkit.serving.process.logs import _Json, _Text


@pytest.fixture
def record():
    made = logging.makeLogRecord({"name": "cnnkit.serving", "levelname": "WARNING", "created": 0.25, "msecs": 250})
    made.msg, made.event, made.status = "GET /x\n2026-01-01 info \x1b[31mforged", "request", 404
    return made


def test_a_line_of_text_is_one_line_whatever_a_client_sent(record):
    assert _Text().format(record) == (
        "1970-01-01T00:00:00.250Z warning GET /x\\n2026-01-01 info \\x1b[31mforged  status=404"
    )


def test_a_line_of_json_has_all_fields(record):
    line = _Json().format(record)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "message": "GET /x\n2026-01-01 info \x1b[31mforged",
        "event": "request",
        "status": 404,
    }


@pytest.mark.parametrize("form", [_Text(), _Json()])
def test_an_error_has_its_traceback(record, form):
    try:
        raise KeyError("lost")
    except KeyError:
        record.exc_info = sys.exc_info()
    assert "KeyError: 'lost'" in form.format(record)


@pytest.fixture(params=["text", "json"])
def configured(request):
    names = [logs.LOGGER, "asyncio", "py.warnings"]
    before = [(logging.getLogger(name), dict(vars(logging.getLogger(name)))) for name in names]
    yield request.param
    logging.captureWarnings(False)
    for logger, attributes in before:
        vars(logger).update(attributes)
        logger.setLevel(attributes["level"])


@pytest.mark.parametrize("name", [logs.LOGGER, "asyncio"])
def test_whoever_complains_does_so_in_one_form(configured, capsys, name):
    logs.configure(configured)
    try:
        raise ValueError("spoilt")
    except ValueError as error:
        logging.getLogger(name).error("it is %s", "broken", exc_info=error, extra={"event": "bug", "ms": 3})
    said = capsys.readouterr().err
    if configured == "json":
        entry = json.loads(said)
        assert (entry["level"], entry["message"], entry["event"], entry["ms"]) == ("error", "it is broken", "bug", 3)
        assert entry["traceback"].endswith("ValueError: spoilt")
    else:
        first, *_, last = said.splitlines()
        assert first.endswith("error   it is broken  ms=3")
        assert last == "ValueError: spoilt"
