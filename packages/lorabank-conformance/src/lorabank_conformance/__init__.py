"""The laws of lorabank's backends and adapter stores, as pytest suites.

Run ``pytest --pyargs lorabank_conformance --bank mypkg:open_store``, or subclass a suite and give
it the fixture ``opener``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorabank_conformance.adapters import AdapterStoreConformance
    from lorabank_conformance.banks import ReasoningBankConformance
    from lorabank_conformance.elsewhere import Address
    from lorabank_conformance.laws import Law, NotApplicableError, Opener, laws_of
    from lorabank_conformance.stores import PatternStoreConformance

__all__ = [
    "AdapterStoreConformance",
    "Address",
    "Law",
    "NotApplicableError",
    "Opener",
    "PatternStoreConformance",
    "ReasoningBankConformance",
    "laws_of",
]

_HOMES = {
    "AdapterStoreConformance": "adapters",
    "Address": "elsewhere",
    "PatternStoreConformance": "stores",
    "ReasoningBankConformance": "banks",
}


def __getattr__(name: str) -> Any:
    # Every pytest run imports this package for its plugin: the suites wait until asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'laws')}"), name)
