"""The laws of an adapter store."""

from lorabank_conformance.adapters.suite import AdapterStoreConformance

__all__ = ["AdapterStoreConformance"]
