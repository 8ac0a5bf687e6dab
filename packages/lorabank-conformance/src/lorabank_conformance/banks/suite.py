"""`ReasoningBankConformance`: all laws of a reasoning bank."""

from __future__ import annotations

from lorabank_conformance.suite import Suite


class ReasoningBankConformance(Suite):
    """Every law of a `ReasoningBank`, on asyncio and trio.

    Subclass it and give one fixture, ``opener``: a function that opens the bank.
    """
