"""Shared by the tests of the faiss backend."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_fault_of_its_own(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The background task survives any fault, so a test has to look whether there was one."""
    yield
    faults = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not faults, faults[0].getMessage()
