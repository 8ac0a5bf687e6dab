"""Where adapters live, with the episodes that wait to be delivered and the experience replay."""

from lorabank.stores.base import (
    AdapterStore,
    Change,
    Duty,
    DutyKind,
    Experience,
    ForgetCounts,
    PopulationRecord,
    PopulationState,
    QueuedEpisode,
    StoreCounts,
    Stored,
    StoredPopulation,
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
    "PopulationRecord",
    "PopulationState",
    "QueuedEpisode",
    "StoreCounts",
    "Stored",
    "StoredPopulation",
    "open_adapter_store",
]
