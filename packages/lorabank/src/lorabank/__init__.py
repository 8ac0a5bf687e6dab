"""lorabank: per-user LoRA adapters over embeddings, and a bank that passes on what helped."""

from lorabank.adaptation.mixing import MixtureReport
from lorabank.adapter import Adapter
from lorabank.bank import LexicalHashingEmbedder, StandardBank, open_bank
from lorabank.clock import Clock
from lorabank.config import (
    ContrastiveConfig,
    EngineConfig,
    EwcConfig,
    MixtureConfig,
    OutboxConfig,
    PriorConfig,
    QueryConfig,
    ReplayConfig,
    RlsConfig,
    SuccessConfig,
    TrialConfig,
)
from lorabank.consolidation import ConsolidationReport, Progress, SkillReport
from lorabank.engine import (
    EngineStats,
    HintUse,
    LoRAPersonalizationEngine,
    PhaseSeconds,
    UpdateReport,
    UpdateResult,
)
from lorabank.errors import (
    BankClosedError,
    BankError,
    BankRejectedError,
    BankUnavailableError,
    CapabilityError,
    CodecError,
    EmbeddingSpaceError,
    EngineClosedError,
    InvalidInputError,
    LorabankError,
    StoreClosedError,
    StoreError,
    StoreUnavailableError,
    UnknownBackendError,
    VersionConflictError,
)
from lorabank.experts import ExpertWeights
from lorabank.hooks import Backend, BankUrl, hookimpl
from lorabank.kernels import Kernel, list_kernels, open_kernel
from lorabank.numerics.contrastive import Calibration
from lorabank.outbox import DeadLetter, DeliveryReport
from lorabank.personalizer import ForgetReceipt, ManyUpdates, Personalizer, Ranked, Selection
from lorabank.protocols import Capability, Embedder, PatternStore, ReasoningBank, StoreStats
from lorabank.stores import AdapterStore, open_adapter_store
from lorabank.types.feedback import Feedback, create_adapter_feedback, watch_reward
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.identifiers import new_id, user_key
from lorabank.types.items import ItemPool
from lorabank.types.pattern import Match, Outcome, Pattern, TrialOutcome
from lorabank.types.query import PatternFilter, Query
from lorabank.types.skill import Consolidation, ConsolidationCriteria, Evidence, Prior, Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.strategy import ArmEffect, Estimate, Strategy, TrialSummary
from lorabank.types.weights import Weights

__version__ = "0.1.0"
__all__ = [
    "Adapter",
    "AdapterStore",
    "ArmEffect",
    "Backend",
    "BankClosedError",
    "BankError",
    "BankRejectedError",
    "BankUnavailableError",
    "BankUrl",
    "Calibration",
    "Capability",
    "CapabilityError",
    "Clock",
    "CodecError",
    "Consolidation",
    "ConsolidationCriteria",
    "ConsolidationReport",
    "ContrastiveConfig",
    "DeadLetter",
    "DeliveryReport",
    "Embedder",
    "EmbeddingSpace",
    "EmbeddingSpaceError",
    "EngineClosedError",
    "EngineConfig",
    "EngineStats",
    "Estimate",
    "Evidence",
    "EwcConfig",
    "ExpertWeights",
    "Feedback",
    "ForgetReceipt",
    "HintUse",
    "Hints",
    "Hyperparameters",
    "InvalidInputError",
    "ItemPool",
    "Kernel",
    "LexicalHashingEmbedder",
    "LoRAPersonalizationEngine",
    "LorabankError",
    "ManyUpdates",
    "Match",
    "MixtureConfig",
    "MixtureReport",
    "OutboxConfig",
    "Outcome",
    "Pattern",
    "PatternFilter",
    "PatternStore",
    "Personalizer",
    "PhaseSeconds",
    "Prior",
    "PriorConfig",
    "Progress",
    "Query",
    "QueryConfig",
    "Ranked",
    "ReasoningBank",
    "ReplayConfig",
    "RlsConfig",
    "Selection",
    "Skill",
    "SkillReport",
    "StandardBank",
    "StoreClosedError",
    "StoreError",
    "StoreStats",
    "StoreUnavailableError",
    "Strategy",
    "SuccessConfig",
    "TrialConfig",
    "TrialOutcome",
    "TrialSummary",
    "UnknownBackendError",
    "UpdateReport",
    "UpdateResult",
    "VersionConflictError",
    "Weights",
    "create_adapter_feedback",
    "hookimpl",
    "list_kernels",
    "new_id",
    "open_adapter_store",
    "open_bank",
    "open_kernel",
    "user_key",
    "watch_reward",
]
