"""The anchor of EWC++: when it moves, and the importance gathered in between.

It moves after every ``anchor_every`` samples exactly (the importance of a batch that straddles
the boundary is gathered in two parts), and before the update when a drift is seen. With it, the
running importance is put into the penalty: until the next move the penalty protects what came
before, and what comes after it only enters the running average.
"""

from __future__ import annotations

from lorabank.config import EwcConfig
from lorabank.numerics.batch import Batch
from lorabank.numerics.drift import page_hinkley
from lorabank.numerics.ewc import accumulate, empty_importance
from lorabank.numerics.lora import Matrices
from lorabank.types.values import changed
from lorabank.types.weights import Anchor, Weights


def first_anchor(weights: Weights, objective: str) -> Anchor:
    """An anchor at the starting weights, without any importance yet."""
    return Anchor(weights, empty_importance(objective, weights.rank, weights.dim))


def watch_for_drift(
    anchor: Anchor, excess: float, samples: int, weights: Weights, config: EwcConfig
) -> tuple[Anchor, bool]:
    """Feed a batch to the test; on a drift, anchor at the weights so far.

    ``excess`` is the loss before the update minus the identity's on the same batch: the pairing
    takes out what makes a batch hard for anyone, and what is left rises when that which was
    learned no longer helps.
    """
    drift, signalled = page_hinkley(
        anchor.drift,
        excess,
        delta=config.drift_delta,
        threshold=config.drift_threshold,
        samples=samples,
    )
    anchor = changed(anchor, drift=drift)
    return (_moved(anchor, weights) if signalled else anchor), signalled


def gather(
    anchor: Anchor, batch: Batch, weights: Weights, scale: float, config: EwcConfig
) -> tuple[Anchor, bool]:
    """Add a batch's importance; whether the anchor moved to ``weights`` (those after it)."""
    moved, start = False, 0
    while start < len(batch):
        room = max(1, config.anchor_every - anchor.samples)  # it may have been larger before
        stop = min(len(batch), start + room)
        at = Matrices(anchor.weights.A, anchor.weights.B, scale)
        part = batch.part(start, stop)
        importance = accumulate(anchor.importance, part, at, config.decay)
        anchor = changed(anchor, importance=importance, samples=anchor.samples + stop - start)
        if anchor.samples >= config.anchor_every:
            anchor, moved = _moved(anchor, weights), True
        start = stop
    return anchor, moved


def _moved(anchor: Anchor, weights: Weights) -> Anchor:
    return changed(anchor, weights=weights, held=anchor.importance, samples=0)
