"""The anchor of EWC++: when it moves, and the importance gathered in between.

It moves after every ``anchor_every`` samples exactly (the importance of a batch that straddles
the boundary is gathered in two parts), and before the update when a drift is seen.
"""

from __future__ import annotations

from dataclasses import replace

from lorabank.config import EwcConfig
from lorabank.numerics.batch import Batch
from lorabank.numerics.drift import page_hinkley
from lorabank.numerics.ewc import accumulate, empty_importance
from lorabank.numerics.lora import Matrices
from lorabank.types.weights import Anchor, Weights


def first_anchor(weights: Weights, objective: str) -> Anchor:
    """An anchor at the starting weights, without any importance yet."""
    return Anchor(weights, empty_importance(objective, weights.rank, weights.dim))


def watch_for_drift(
    anchor: Anchor, loss: float, weights: Weights, config: EwcConfig
) -> tuple[Anchor, bool]:
    """Feed the loss before an update to the test; on a drift, anchor at the weights so far."""
    drift, signalled = page_hinkley(
        anchor.drift, loss, delta=config.drift_delta, threshold=config.drift_threshold
    )
    if signalled:
        return replace(anchor, weights=weights, samples=0, drift=drift), True
    return replace(anchor, drift=drift), False


def gather(
    anchor: Anchor, batch: Batch, weights: Weights, scale: float, config: EwcConfig
) -> tuple[Anchor, bool]:
    """Add a batch's importance; whether the anchor moved to ``weights`` (those after it)."""
    moved, start = False, 0
    while start < len(batch):
        stop = min(len(batch), start + config.anchor_every - anchor.samples)
        at = Matrices(anchor.weights.A, anchor.weights.B, scale)
        part = batch.part(start, stop)
        importance = accumulate(anchor.importance, part, at, config.decay)
        samples = anchor.samples + stop - start
        if samples == config.anchor_every:
            anchor = replace(anchor, weights=weights, importance=importance, samples=0)
            moved = True
        else:
            anchor = replace(anchor, importance=importance, samples=samples)
        start = stop
    return anchor, moved
