"""What the laws of adapter stores share: settings, openers, and records."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import numpy as np

from lorabank.adapter import Adapter, Trial, TrialArm
from lorabank.config import ReplayConfig
from lorabank.stores import AdapterStore, Change, Experience
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.mixture import ExpertState, Mixture
from lorabank.types.pattern import Pattern
from lorabank.types.weights import Anchor, DriftState, Importance, Weights
from lorabank_conformance.laws import NotApplicableError
from lorabank_conformance.samples import NOW, THIRD, Samples
from lorabank_conformance.suite import Suite


class AdapterOpener(Protocol):
    """Opens the same store again at each call, with these settings of the replay."""

    def __call__(
        self, replay: ReplayConfig | None = None
    ) -> AbstractAsyncContextManager[AdapterStore]:
        """Open it."""
        ...


class AdapterSuite(Suite):
    """Laws of adapter stores.

    Attributes:
        durable: whether what was committed is there when the store is opened again.
        shared: whether it may be open more than once, here or in other processes.
    """

    durable: bool = True
    shared: bool = True

    @property
    def build(self) -> Adapters:
        """Builds records of the suite's space."""
        return Adapters(self.make)

    def require(self, capability: str) -> None:
        """Skip a law that needs a store to be "durable" or "shared"."""
        if not getattr(self, capability):
            raise NotApplicableError(f"the suite says that the store is not {capability}")


class Adapters:
    """Builds adapters and changes."""

    def __init__(self, make: Samples) -> None:
        self.make = make

    def adapter(self, user_id: str = "ada", version: int = 1, **changes: Any) -> Adapter:
        """A plain adapter of rank 2; the version is written into its weights."""
        A = np.full((2, self.make.space.dim), version, np.float32)
        fields: dict[str, Any] = {
            "user_id": user_id,
            "weights": Weights(A, A.T),
            "alpha": 2.0,
            "scaling": "lora",
            "objective": "mse",
            "space": self.make.space,
            "version": version,
        }
        return Adapter(**(fields | changes))

    def full_adapter(self, user_id: str) -> Adapter:
        """An adapter with an anchor, a pending episode and a trial, and no field at its default."""
        make, dim = self.make, self.make.space.dim
        A = make.vectors(3, seed=21)
        weights = Weights(A, (A * np.float32(THIRD)).T.copy())
        wide = Importance(
            make.vectors(3, seed=22).T.copy() ** 2, make.vectors(3, seed=23) ** 2, THIRD
        )
        assert wide.shapes == ((dim, 3), (3, dim))
        anchor = Anchor(weights, wide, wide, 17, DriftState(3, THIRD, 0.1, -0.7, -0.9))
        arms = (
            TrialArm("default", 1.0, weights),
            TrialArm("frozen", 1.0, weights),
            TrialArm("learning_rate", THIRD, Weights(A * np.float32(2), weights.B)),
        )
        return Adapter(
            user_id=user_id,
            weights=weights,
            alpha=THIRD,
            scaling="rslora",
            objective="contrastive",
            space=make.space,
            tau=0.1,
            prior_weight=-THIRD,
            version=2**40,
            sample_count=2**41,
            skill_ids=("mse/everyone", "ünïcode"),
            anchor=anchor,
            pending=make.full_pattern("pending"),
            trial=Trial(arms, Hyperparameters(0.1, THIRD, 0.7, 3), 1, 3),
            experts=ExpertState((2**40, 0, 3), "ünïcode", Mixture(-THIRD, (THIRD, 1 - THIRD), 7)),
        )

    def change(
        self,
        user_id: str = "ada",
        version: int = 1,
        expected: int | None = None,
        *,
        episodes: tuple[str, ...] = (),
        seen: int = 0,
        at: float = NOW,
    ) -> Change:
        """A change with episodes of these ids, and ``seen`` observations, made ``at``."""
        key = key_of(user_id)
        return Change(
            adapter=self.adapter(user_id, version),
            user_key=key,
            expected=expected,
            episodes=tuple(self.episode(name, user_id, at) for name in episodes),
            experience=Experience(key, self.batch(seen, version), at) if seen else None,
        )

    def episode(self, name: str, user_id: str = "ada", at: float = NOW) -> Pattern:
        """A finished episode."""
        return self.make.pattern(name, user_key=key_of(user_id), created_at=at)

    def batch(self, count: int, value: float = 1.0) -> Feedback:
        """Feedback of ``count`` rows: 4 (dim + 1) bytes each."""
        x = np.full((count, self.make.space.dim), value, np.float32)
        return Feedback(x, reward=np.full(count, 0.5))

    @property
    def row_bytes(self) -> int:
        """Bytes that one row of `batch` counts for."""
        return self.batch(1).nbytes


def key_of(user_id: str) -> str:
    """The key that stands for a user here."""
    return f"key of {user_id}"
