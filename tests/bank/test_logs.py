"""Loggers go through the standard library and print nothing of their own."""

from __future__ import annotations

import logging

import pytest
import structlog

from lorabank.logs import get_logger


def test_fields_reach_plain_and_structured_handlers(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("lorabank.test").bind(bank="b").warning("gone 100%", name="x", message=3)
    (record,) = caplog.records
    assert record.getMessage() == "gone 100% bank='b' name='x' message=3"
    assert (record.event, record.fields) == ("gone 100%", {"bank": "b", "name": "x", "message": 3})
    assert (record.name, record.levelno) == ("lorabank.test", logging.WARNING)
    assert record.funcName == "test_fields_reach_plain_and_structured_handlers"


def test_exceptions_keep_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError("k")
    except KeyError:
        get_logger("lorabank.test").exception("failed")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError
    assert record.funcName == "test_exceptions_keep_their_traceback"


def test_callers_are_found_by_a_logger_of_structlog_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What an application gets that configured structlog before it imported the library."""
    before = logging.getLoggerClass()
    structlog.stdlib.LoggerFactory()  # sets the class of new loggers
    try:
        get_logger("lorabank.test.configured").bind(bank="b").warning("gone")
    finally:
        logging.setLoggerClass(before)
    (record,) = caplog.records
    assert record.funcName == "test_callers_are_found_by_a_logger_of_structlog_too"


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger("lorabank.test").info("quiet")
    assert capsys.readouterr().out == ""
