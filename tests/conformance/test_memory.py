"""The memory backend obeys every law."""

from __future__ import annotations

import pytest

from lorabank.bank import open_bank
from lorabank.hooks import BankUrl
from lorabank_conformance import Opener, PatternStoreConformance, ReasoningBankConformance
from lorabank_memory.plugin import open_memory_store


class TestMemoryStore(PatternStoreConformance):
    """`memory://` as a pattern store."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Each open is a new, empty store."""
        return lambda: open_memory_store(BankUrl.parse("memory://"))


class TestMemoryBank(ReasoningBankConformance):
    """`memory://` as `open_bank` opens it: the standard bank over the store."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Each open is a new, empty bank."""
        return lambda: open_bank("memory://")
