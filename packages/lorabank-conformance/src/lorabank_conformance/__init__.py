"""The laws of lorabank's backends, as pytest suites.

Run ``pytest --pyargs lorabank_conformance --bank mypkg:open_store``, or subclass a suite and give
it the fixture ``opener``. A suite for adapter stores joins these two when their protocol exists.
"""

from lorabank_conformance.banks import ReasoningBankConformance
from lorabank_conformance.laws import Law, NotApplicableError, Opener, laws_of
from lorabank_conformance.stores import PatternStoreConformance

__all__ = [
    "Law",
    "NotApplicableError",
    "Opener",
    "PatternStoreConformance",
    "ReasoningBankConformance",
    "laws_of",
]
