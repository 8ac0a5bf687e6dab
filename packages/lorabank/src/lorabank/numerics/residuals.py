"""Sampled softmax over items with residuals: ``tau <y, e_j + v_j> + b_j + offset_j``.

y is fixed, so the loss is convex in the rows v and the biases b.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.turns import give_way
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SampledRows:
    """A minibatch: each row's target against negatives that all rows share.

    Attributes:
        Y: (n, dim), outputs of the adapter, already times tau.
        target, negatives: (n,) and (m,) positions of items, the negatives distinct.
        target_offset: (n,) what else is in the target's logit.
        offset: (m,) the same of the negatives, less their log inclusion probability.
        hits: (n, m) True where a negative does not compete with the row's target.
        weights: (n,) of the rows in the mean.
    """

    Y: AnyFloatArray
    target: IntArray
    negatives: IntArray
    target_offset: AnyFloatArray
    offset: AnyFloatArray
    hits: BoolArray
    weights: AnyFloatArray

    def gradient(
        self, vectors: AnyFloatArray, bias: AnyFloatArray
    ) -> tuple[float, IntArray, AnyFloatArray, AnyFloatArray]:
        """(loss, items (k,), their dV (k, dim), their db (k,)) of the weighted mean loss.

        Args:
            vectors: (N, dim), ``e + v`` of every item.
            bias: (N,).
        """
        losses, p_target, P = self._softmax(vectors, bias)
        give_way()
        n, share = len(self.Y), self.weights / len(self.Y)
        P *= share[:, None]
        d_target = (p_target - 1) * share
        items, place = np.unique(np.concatenate([self.target, self.negatives]), return_inverse=True)
        give_way()
        db = np.bincount(place[:n], d_target, minlength=len(items)).astype(P.dtype)
        db[place[n:]] += P.sum(axis=0)
        dV = np.zeros((len(items), self.Y.shape[1]), P.dtype)
        dV[place[n:]] = P.T @ self.Y
        give_way()
        np.add.at(dV, place[:n], d_target[:, None] * self.Y)
        return float(losses @ share), items, dV, db

    def context_gradient(self, vectors: AnyFloatArray, bias: AnyFloatArray) -> AnyFloatArray:
        """(n, dim) the gradient of the same loss in Y, the rows and biases being fixed."""
        _, p_target, P = self._softmax(vectors, bias)
        give_way()
        share = self.weights / len(self.Y)
        P *= share[:, None]
        dY: AnyFloatArray = P @ vectors[self.negatives]
        dY += ((p_target - 1) * share)[:, None] * vectors[self.target]
        return dY

    def _softmax(
        self, vectors: AnyFloatArray, bias: AnyFloatArray
    ) -> tuple[AnyFloatArray, AnyFloatArray, AnyFloatArray]:
        """Losses (n,), probabilities of the targets (n,) and of the negatives (n, m)."""
        target = np.einsum("ij,ij->i", self.Y, vectors[self.target])
        target += bias[self.target] + self.target_offset
        P = self.Y @ vectors[self.negatives].T
        give_way()
        P += bias[self.negatives] + self.offset
        P[self.hits] = -np.inf
        peak = np.maximum(P.max(axis=1, initial=-np.inf), target)
        give_way()
        P -= peak[:, None]
        np.exp(P, out=P)
        give_way()
        own = np.exp(target - peak)
        total = P.sum(axis=1) + own
        P /= total[:, None]
        return np.log(total) + peak - target, own / total, P


def log_inclusion(log_q: AnyFloatArray, draws: int) -> AnyFloatArray:
    """Log probability that an item is among ``draws`` independent draws: ``log(1 - (1-q)^n)``.

    Taking each drawn item once and dividing by this probability estimates a sum over all items
    without bias (Horvitz & Thompson 1952).
    """
    none = draws * np.log1p(-np.exp(log_q.astype(np.float64)))
    result: AnyFloatArray = np.log(-np.expm1(none)).astype(log_q.dtype)
    return result
