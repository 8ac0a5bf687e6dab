"""Both adapter stores obey every law."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorabank.stores import open_adapter_store
from lorabank_conformance import AdapterStoreConformance, Address
from lorabank_conformance.adapters.base import AdapterOpener


class TestMemory(AdapterStoreConformance):
    """`memory://`."""

    durable = False
    shared = False

    @pytest.fixture
    def opener(self) -> AdapterOpener:
        """Each open is a new, empty store."""
        return lambda replay=None: open_adapter_store("memory://", replay=replay)


class TestSqlite(AdapterStoreConformance):
    """`sqlite:///path.db`."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> AdapterOpener:
        """A file of its own for every test."""
        url = f"sqlite:///{tmp_path}/adapters.db"
        self.address = Address(url, tmp_path)
        return lambda replay=None: open_adapter_store(url, replay=replay)
