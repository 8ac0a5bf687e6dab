"""Adam with bias correction (Kingma & Ba 2015, algorithm 1), for offline training."""

from __future__ import annotations

import numpy as np

from lorabank.types.arrays import AnyFloatArray


class Adam:
    """Moments of one list of arrays. ``update`` returns what to add to each array."""

    def __init__(self, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._first: list[AnyFloatArray] = []
        self._second: list[AnyFloatArray] = []
        self._count = 0

    def update(
        self, gradients: tuple[AnyFloatArray, ...], learning_rate: float
    ) -> tuple[AnyFloatArray, ...]:
        """The step for each gradient, in the gradient's dtype."""
        if not self._first:
            self._first = [np.zeros_like(g) for g in gradients]
            self._second = [np.zeros_like(g) for g in gradients]
        self._count += 1
        rate = learning_rate / (1 - self._beta1**self._count)
        correction = 1 - self._beta2**self._count
        return tuple(self._step(g, i, rate, correction) for i, g in enumerate(gradients))

    def _step(self, g: AnyFloatArray, i: int, rate: float, correction: float) -> AnyFloatArray:
        first, second = self._first[i], self._second[i]
        first += (1 - self._beta1) * (g - first)
        second += (1 - self._beta2) * (g * g - second)
        step: AnyFloatArray = -rate * first / (np.sqrt(second / correction) + self._epsilon)
        return step


def cosine_rate(peak: float, step: int, total: int) -> float:
    """Cosine decay from ``peak`` to zero over ``total`` steps (Loshchilov & Hutter 2017)."""
    return peak * 0.5 * (1.0 + float(np.cos(np.pi * step / total)))
