"""A stream with a drift: task A in one region of the inputs, then task B in another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.adaptation.step import Decision, StepResult, adapt, prepare
from lorabank.adapter import Adapter, Objective
from lorabank.config import EngineConfig
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.numerics.lora import initial_matrices
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.items import ItemPool
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

DIM, RANK, ITEMS, TAU = 64, 8, 200, 10.0
SPACE = EmbeddingSpace("test", DIM)
Array = NDArray[np.float64]


def new_adapter(config: EngineConfig, seed: int = 1) -> Adapter:
    """As the engine starts one: the identity."""
    A, B = initial_matrices(np.random.default_rng(seed), config.rank, config.space.dim)
    return Adapter(
        "user",
        Weights(A, B),
        config.effective_alpha,
        config.scaling,
        config.objective,
        config.space,
        tau=config.contrastive.calibration.tau,
        prior_weight=config.contrastive.calibration.prior_weight,
    )


def step(
    adapter: Adapter,
    feedback: Feedback,
    config: EngineConfig,
    pool: ItemPool | None = None,
    seed: int = 0,
    *,
    observed: bool = False,
) -> StepResult:
    """One update with the defaults, prepared and adapted with the same generator."""
    rng = np.random.default_rng(seed)
    batch = prepare(adapter, feedback, config, pool, rng)
    decision = Decision(config.defaults, observed=observed)
    return adapt(adapter, batch, decision, config, rng, lambda: 0.0)


class Drifting:
    """Region i has most of its energy in its own half of the components (``leak`` in the other).

    Task i maps x to ``x + gain * U_i V_i^T x``, a map of rank two that region i excites. For mse
    that, with noise, is the target; for contrastive items are drawn from its softmax.
    """

    def __init__(self, objective: Objective, seed: int, *, leak: float, gain: float) -> None:
        self.objective, self.leak = objective, leak
        self.rng = np.random.default_rng(seed)
        rng = np.random.default_rng(seed + 1000)
        self.centres, self.maps = [], []
        for half in (slice(0, DIM // 2), slice(DIM // 2, DIM)):
            centre = np.zeros(DIM)
            centre[half] = rng.normal(size=DIM // 2)
            centre *= 4 / np.linalg.norm(centre)
            V = np.zeros((DIM, 2))
            V[half] = rng.normal(size=(DIM // 2, 2))
            V[:, 0] = centre
            U = np.linalg.qr(rng.normal(size=(DIM, 2)))[0]
            self.centres.append(centre)
            self.maps.append(gain * U @ np.linalg.qr(V)[0].T)
        items = rng.normal(size=(ITEMS, DIM))
        self.pool = ItemPool(items / np.linalg.norm(items, axis=1, keepdims=True))

    def draw(self, task: int, n: int, rng: np.random.Generator) -> Feedback:
        spread = np.full(DIM, self.leak)
        spread[task * DIM // 2 : (task + 1) * DIM // 2] = 1.0
        x = self.centres[task] + rng.normal(size=(n, DIM)) * spread
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = x + x @ self.maps[task].T
        if self.objective == "mse":
            return Feedback(x, y + 0.4 * rng.normal(size=y.shape) / DIM**0.5)
        logits = TAU * y @ self.pool.vectors.T
        return Feedback(x, items=(logits + rng.gumbel(size=logits.shape)).argmax(axis=1))

    def loss(self, adapter: Adapter, held_out: Feedback) -> float:
        """On fresh data; exact over the pool."""
        y = adapter.transform(held_out.x)
        if held_out.target is not None:
            return float(((y - held_out.target) ** 2).sum() / (held_out.x**2).sum())
        assert held_out.items is not None
        logits = TAU * (y @ self.pool.vectors.T).astype(np.float64)
        chosen = logits[np.arange(len(y)), held_out.items]
        return float((log_sum_exp(logits) - chosen).mean())


@dataclass(frozen=True)
class Journey:
    """Losses on (old, new) before anything, after task A, after task B; and the drifts seen."""

    start: tuple[float, float]
    middle: tuple[float, float]
    end: tuple[float, float]
    drifts: list[tuple[int, int]]

    @property
    def forgotten(self) -> float:
        return self.end[0] - self.middle[0]

    @property
    def gained(self) -> float:
        return self.middle[1] - self.end[1]


def travel(
    stream: Drifting, config: EngineConfig, *, samples: int = 600, batch: int = 10
) -> Journey:
    """Task A, then task B, ``samples`` of each."""
    held_out = [stream.draw(task, 500, np.random.default_rng(90 + task)) for task in (0, 1)]
    adapter, drifts = new_adapter(config), []

    def losses() -> tuple[float, float]:
        return stream.loss(adapter, held_out[0]), stream.loss(adapter, held_out[1])

    points = [losses()]
    for task in (0, 1):
        for update in range(samples // batch):
            feedback = stream.draw(task, batch, stream.rng)
            result = step(adapter, feedback, config, stream.pool, update)
            adapter = result.adapter
            if result.drift:
                drifts.append((task, update))
        points.append(losses())
    return Journey(points[0], points[1], points[2], drifts)


def config_of(objective: Objective, learning_rate: float, strength: float) -> EngineConfig:
    defaults = Hyperparameters(learning_rate=learning_rate, ewc_strength=strength)
    return EngineConfig(SPACE, rank=RANK, objective=objective, defaults=defaults)
