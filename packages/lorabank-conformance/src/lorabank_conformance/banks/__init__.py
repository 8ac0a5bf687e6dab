"""The laws of a `ReasoningBank`, one module per subject."""

from lorabank_conformance.banks.suite import ReasoningBankConformance

__all__ = ["ReasoningBankConformance"]
