"""The memory backend obeys every law."""

from __future__ import annotations

import pytest

from lorabank.hooks import BankUrl
from lorabank_conformance import Opener, PatternStoreConformance
from lorabank_memory.plugin import open_memory_store


class TestMemoryStore(PatternStoreConformance):
    """`memory://` as a pattern store."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Each open is a new, empty store."""
        return lambda: open_memory_store(BankUrl.parse("memory://"))
