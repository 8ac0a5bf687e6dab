"""What ``pytest --pyargs lorabank_conformance --bank ...`` runs; the plugin picks the suites."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest

from lorabank.stores import AdapterStore
from lorabank_conformance.adapters import AdapterStoreConformance
from lorabank_conformance.adapters.base import AdapterOpener
from lorabank_conformance.banks import ReasoningBankConformance
from lorabank_conformance.elsewhere import Address
from lorabank_conformance.laws import Opener
from lorabank_conformance.stores import PatternStoreConformance
from lorabank_conformance.target import Target


class TestPatternStore(PatternStoreConformance):
    """The laws of a pattern store, for ``--bank``."""

    @pytest.fixture
    def opener(self, conformance_target: Target, tmp_path: Path) -> Opener:
        """A directory of its own for every test."""
        self.space = conformance_target.space
        self.address = Address(conformance_target.text, tmp_path)
        return conformance_target.place(tmp_path)


class TestReasoningBank(ReasoningBankConformance):
    """The laws of a reasoning bank, for ``--bank``."""

    @pytest.fixture
    def opener(self, conformance_target: Target, tmp_path: Path) -> Opener:
        """A directory of its own for every test."""
        self.space = conformance_target.space
        self.address = Address(conformance_target.text, tmp_path)
        return conformance_target.place(tmp_path)


class TestAdapterStore(AdapterStoreConformance):
    """The laws of an adapter store, for ``--bank``; durable and shared if it has a place."""

    @pytest.fixture
    def opener(self, conformance_target: Target, tmp_path: Path) -> AdapterOpener:
        """A directory of its own for every test."""
        self.space = conformance_target.space
        self.address = Address(conformance_target.text, tmp_path)
        self.durable = self.shared = conformance_target.is_fresh
        opened: Callable[..., AbstractAsyncContextManager[AdapterStore]]
        opened = cast("Any", conformance_target.place(tmp_path))
        return lambda replay=None: opened(replay=replay)
