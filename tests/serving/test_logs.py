import json
import logging

import pytest

from cnnkit.serving import logs


@pytest.fixture(params=["text", "json"])
def configured(request):
    names = [logs.LOGGER, "uvicorn", "asyncio", "py.warnings"]
    before = [(logging.getLogger(name), dict(vars(logging.getLogger(name)))) for name in names]
    yield request.param
    logging.captureWarnings(False)
    for logger, attributes in before:
        vars(logger).update(attributes)
        logger.setLevel(attributes["level"])


@pytest.mark.parametrize("name", [logs.LOGGER, "uvicorn.error", "asyncio"])
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
