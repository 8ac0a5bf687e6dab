"""The engine: scheduling around the pure update step."""

from lorabank.engine.engine import LoRAPersonalizationEngine
from lorabank.engine.report import (
    EngineStats,
    HintUse,
    PhaseSeconds,
    UpdateReport,
    UpdateResult,
)

__all__ = [
    "EngineStats",
    "HintUse",
    "LoRAPersonalizationEngine",
    "PhaseSeconds",
    "UpdateReport",
    "UpdateResult",
]
