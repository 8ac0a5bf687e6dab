"""Where adapters live, with the episodes that wait to be delivered and the experience replay."""

from lorabank.stores.base import (
    AdapterStore,
    Change,
    Duty,
    DutyKind,
    Experience,
    ForgetCounts,
    QueuedEpisode,
    StoreCounts,
    Stored,
)
from lorabank.stores.memory import MemoryAdapterStore
from lorabank.stores.open import open_adapter_store

__all__ = [
    "AdapterStore",
    "Change",
    "Duty",
    "DutyKind",
    "Experience",
    "ForgetCounts",
    "MemoryAdapterStore",
    "QueuedEpisode",
    "StoreCounts",
    "Stored",
    "open_adapter_store",
]
