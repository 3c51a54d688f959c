"""What the web process writes into its log."""

import io
import json
import logging
import logging.config
from collections.abc import Callable, Iterator

import psycopg2.errors
import pytest

from app.logs import config


@pytest.fixture(params=["json", "text"])
def written(request: pytest.FixtureRequest) -> Iterator[tuple[str, logging.Logger, Callable[[], str]]]:
    """The format, a logger set up as the web process sets up its own, and all it wrote."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logging.config.dictConfig(config(request.param, "info"))
    stream = io.StringIO()
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield request.param, logging.getLogger("app.test"), stream.getvalue
    root.handlers[:], root.level = before


def test_a_line_is_one_line_whatever_is_said(written: tuple[str, logging.Logger, Callable[[], str]]) -> None:
    form, log, text = written
    log.warning("a\nb\r\x1b[31m\u2028 %s", "c\nd", extra={"route": "/x\ny"})
    assert len(text().splitlines()) == 1
    assert "\x1b" not in text()
    if form == "json":
        assert json.loads(text())["message"].startswith("a\nb")


def test_what_a_database_says_of_row_values_is_left_out(written: tuple[str, logging.Logger, Callable[[], str]]) -> None:
    _, log, text = written
    driver = psycopg2.errors.CheckViolation(
        'new row violates "x"\nDETAIL:  Failing row contains (s3cret).\n\nHINT: s3cret\n'
    )
    try:
        try:
            raise driver
        except psycopg2.Error as error:
            raise LookupError("our own words") from error
    except LookupError:
        log.exception("unexpected failure")
    assert "s3cret" not in text()
    assert "CheckViolation" in text()
    assert "our own words" in text()
    assert "test_what_a_database_says" in text()


def test_facts_beside_the_message_are_kept(written: tuple[str, logging.Logger, Callable[[], str]]) -> None:
    _, log, text = written
    log.info("answered", extra={"status": 404, "route": "/jobs"})
    assert "404" in text()
    assert "/jobs" in text()


def test_below_the_level_nothing_is_written(written: tuple[str, logging.Logger, Callable[[], str]]) -> None:
    _, log, text = written
    log.debug("quiet")
    assert text() == ""
