"""Fixtures for the tests of the personalizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.conftest import cancel_at

__all__ = ["cancel_at"]


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Both kinds of store."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/app.db"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A durable store."""
    return f"sqlite:///{tmp_path}/app.db"
