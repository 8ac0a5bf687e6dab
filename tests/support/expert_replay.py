"""New users' events through the update step with a population: predicted exactly, then learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.adaptation.mixing import mixture_of
from lorabank.adaptation.stacking import prepare_with_experts, recent_of_rows
from lorabank.adaptation.step import Decision, adapt
from lorabank.adapter import Adapter
from lorabank.config import EngineConfig
from lorabank.demo.protocol import Protocol
from lorabank.engine.starting import identity_adapter
from lorabank.experts import BoundExperts
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.population import Rows, collect_rows
from lorabank.types.feedback import Feedback
from lorabank.types.identifiers import user_key
from lorabank.types.items import ItemPool
from lorabank.types.mixture import ExpertState


@dataclass(frozen=True)
class Journey:
    """One user.

    Attributes:
        losses: exact NLL of every event under the K experts and, last, the mixture as it was
            before the event's batch, over the items that the user had not had, (n, K + 1).
        excess: largest sum so far, at any moment, of the mixture's loss minus the identity's, as
            the update itself reports them.
        adapter: at the end.
    """

    losses: NDArray[np.float64]
    excess: float
    adapter: Adapter


def pool_of(protocol: Protocol, users: NDArray[np.int64]) -> ItemPool:
    """The items with the popularity among these users."""
    return ItemPool(protocol.items, protocol.log.counts(users, len(protocol.items)))


def rows_of(protocol: Protocol, users: NDArray[np.int64]) -> Rows:
    """Their events to train on."""
    events, snapshot = protocol.events, {}
    for user in users.tolist():
        rows = np.flatnonzero(events.user == user)
        if len(rows):
            feedback = Feedback(events.x[rows], items=events.target[rows])
            snapshot[user_key(f"user {user}", b"lorabank")] = [feedback]
    found = collect_rows(snapshot, "contrastive")
    assert found is not None
    return found


def travel(
    protocol: Protocol,
    user: int,
    experts: BoundExperts,
    config: EngineConfig,
    *,
    most: int,
    batch_size: int = 1,
) -> Journey:
    """A user's first ``most`` events, each batch predicted before it is learned."""
    events = protocol.events
    rows = np.flatnonzero(events.user == user)[:most]
    adapter = identity_adapter(config, f"user {user}", np.random.default_rng(user))
    losses, excess, largest = [], 0.0, 0.0
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        losses.append(_predict(protocol, part, adapter, experts, config))
        feedback = Feedback(events.x[part], items=events.target[part])
        rng = np.random.default_rng([user, start])
        batch, mixing = prepare_with_experts(adapter, feedback, config, experts.pool, experts, rng)
        result = adapt(adapter, batch, Decision(config.defaults), config, rng, _never, mixing)
        adapter, report = result.adapter, result.mixture
        assert report is not None
        excess += len(part) * (report.loss - report.identity_loss)
        largest = max(largest, excess)
    return Journey(np.concatenate(losses), largest, adapter)


def _predict(
    protocol: Protocol,
    rows: NDArray[np.int64],
    adapter: Adapter,
    experts: BoundExperts,
    config: EngineConfig,
) -> NDArray[np.float64]:
    events, state = protocol.events, adapter.experts or ExpertState()
    x, target, n = events.x[rows], events.target[rows], len(rows)
    window = config.population.neighbours.window
    recent = recent_of_rows(state.recent, target, np.ones(n, np.bool_), window)
    scores = experts.score(x, recent, None)
    own = scores.offset + np.float32(experts.base_tau) * (
        adapter.transform(scores.X) @ scores.vectors.T
    )
    logits = np.concatenate([scores.logits, own[None]]).astype(np.float64)
    event, item = protocol.log.seen_items(events.user[rows], events.seen[rows])
    logits[:, event, item] = -np.inf
    chosen = logits[:, np.arange(n), target] - log_sum_exp(logits)
    weights = np.array(mixture_of(adapter.experts, experts, config.mixture).served)
    mixed = log_sum_exp(chosen.T + np.log(weights))
    return -np.column_stack([chosen.T, mixed])


def _never() -> float:
    return 0.0
