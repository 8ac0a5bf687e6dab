"""The command line configures logging for its process; here the process lives on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """What a command sets up is undone."""
    root, own = logging.getLogger(), logging.getLogger("lorabank")
    handlers, level, own_level = root.handlers[:], root.level, own.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    own.setLevel(own_level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
