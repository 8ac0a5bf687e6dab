"""Weights of a running average that do not depend on how a stream is cut into batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from lorabank.types.arrays import AnyFloatArray


def decayed_weights(count: int, decay: float, dtype: DTypeLike) -> AnyFloatArray:
    """(count,) weights ``(1 - decay) * decay**(count - 1 - i)``: the newest weighs most."""
    ages = np.arange(count - 1, -1, -1)
    weights: AnyFloatArray = ((1.0 - decay) * decay**ages).astype(dtype)
    return weights
