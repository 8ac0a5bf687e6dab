"""The store obeys every law of a pattern store, and the bank over it every law of a bank."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorabank import BankUrl, open_bank
from lorabank_conformance import Address, Opener, PatternStoreConformance, ReasoningBankConformance
from lorabank_template import open_store


class TestStore(PatternStoreConformance):
    """The store."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """A file of its own for every test, which another process opens, too."""
        self.address = Address("template://{tmp}/bank.db", tmp_path)
        return lambda: open_store(BankUrl.parse(f"template://{tmp_path.as_posix()}/bank.db"))


class TestBank(ReasoningBankConformance):
    """What an application opens."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """A file of its own for every test."""
        return lambda: open_bank(f"template://{tmp_path.as_posix()}/bank.db")
