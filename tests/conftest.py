"""Shared by all tests: every async test runs on asyncio and on trio."""

from __future__ import annotations

import pytest
from hypothesis import settings

# A busy machine is no finding. `timeout` bounds every test.
settings.register_profile("lorabank", deadline=None)
settings.load_profile("lorabank")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop."""
    backend: str = request.param
    return backend


def pytest_addoption(parser: pytest.Parser) -> None:
    """Long runs are left out unless asked for."""
    parser.addoption("--campaign", action="store_true", help="also run the long campaigns")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect campaigns, so that they are neither run nor reported as skipped."""
    if config.getoption("--campaign"):
        return
    long = [item for item in items if item.get_closest_marker("campaign")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
