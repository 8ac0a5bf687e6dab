"""The faiss backend obeys every law: searched exactly, and with an approximate index."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorabank.bank import open_bank
from lorabank.hooks import BankUrl
from lorabank_conformance import Address, Opener, PatternStoreConformance, ReasoningBankConformance
from lorabank_faiss.plugin import open_faiss_store


class TestExactStore(PatternStoreConformance):
    """Below the flat limit."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """A directory of its own for every test."""
        self.address = Address(f"faiss://{tmp_path}/bank", tmp_path)
        return lambda: open_faiss_store(BankUrl.parse(f"faiss://{tmp_path}/bank"))


class TestApproximateStore(PatternStoreConformance):
    """Above it: small banks look into every list of the index, so the same laws hold."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """A directory of its own for every test."""
        url = f"faiss://{tmp_path}/bank?flat_limit=4&tail_limit=2"
        self.address = Address(url, tmp_path)
        return lambda: open_faiss_store(BankUrl.parse(url))


class TestBank(ReasoningBankConformance):
    """The standard bank over it."""

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        """A directory of its own for every test."""
        return lambda: open_bank(f"faiss://{tmp_path}/bank")
