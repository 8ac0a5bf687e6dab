"""Loggers: structlog's interface bound over the standard library, and nothing configured.

An unconfigured structlog prints to stdout, which would break an application's own output. So each
logger here carries its processors itself: levels, handlers and formats stay the business of the
application's ``logging``. The message holds the event and its fields as text for plain handlers; a
structured handler finds them as ``record.event`` and ``record.fields``.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

# Frames of structlog between the caller and the standard library's logger. A logger that finds its
# callers itself skips them itself: structlog makes such a class the default for new loggers once an
# application configures it over the standard library.
_STACK_LEVEL = 4
_PASSED_ON = ("exc_info", "stack_info", "stacklevel")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger over ``logging.getLogger(name)``: ``log.warning("event", key=value)``."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, _render],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast(structlog.stdlib.BoundLogger, logger)


def _render(
    logger: logging.Logger, _method: str, event: MutableMapping[str, Any]
) -> dict[str, Any]:
    passed_on = {key: event.pop(key) for key in _PASSED_ON if key in event}
    name = str(event.pop("event", ""))
    fields = dict(event)
    text = " ".join([name, *(f"{key}={value!r}" for key, value in fields.items())])
    extra = {"event": name, "fields": fields}
    finds_itself = type(logger).findCaller is not logging.Logger.findCaller
    level = 1 if finds_itself else _STACK_LEVEL
    return {"msg": text, "extra": extra, "stacklevel": level, **passed_on}
