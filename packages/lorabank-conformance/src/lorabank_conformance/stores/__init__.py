"""The laws of a `PatternStore`, one module per subject."""

from lorabank_conformance.stores.suite import PatternStoreConformance

__all__ = ["PatternStoreConformance"]
