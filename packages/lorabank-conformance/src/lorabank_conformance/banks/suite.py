"""`ReasoningBankConformance`: all laws of a reasoning bank."""

from __future__ import annotations

from lorabank_conformance.banks.consolidating import ConsolidationLaws
from lorabank_conformance.banks.forgetting import ForgetLaws
from lorabank_conformance.banks.keeping import KeepingLaws
from lorabank_conformance.banks.learning import LearningLaws
from lorabank_conformance.banks.retrieving import RetrievalLaws
from lorabank_conformance.banks.serving import ServingLaws


# pytest runs the laws of the last base first.
class ReasoningBankConformance(
    ServingLaws,
    KeepingLaws,
    ForgetLaws,
    ConsolidationLaws,
    LearningLaws,
    RetrievalLaws,
):
    """Every law of a `ReasoningBank`, on asyncio and trio.

    Subclass it and give one fixture::

        class TestMyBank(ReasoningBankConformance):
            @pytest.fixture
            def opener(self, tmp_path):
                return lambda: open_my_bank(tmp_path / "bank")
    """
