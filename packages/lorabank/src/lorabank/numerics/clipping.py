"""Clipping by the joint norm over both matrices (Pascanu et al. 2013, section 3.2)."""

from __future__ import annotations

import math

import numpy as np

from lorabank.types.arrays import AnyFloatArray


def joint_norm(dA: AnyFloatArray, dB: AnyFloatArray) -> float:
    """L2 norm of all entries of both gradients together."""
    return math.sqrt(float(np.vdot(dA, dA)) + float(np.vdot(dB, dB)))


def clip_jointly(dA: AnyFloatArray, dB: AnyFloatArray, threshold: float) -> float:
    """Scale both gradients **in place** so that their joint norm is at most ``threshold``.

    One factor for both keeps the direction. Returns the norm before clipping.
    """
    norm = joint_norm(dA, dB)
    if norm > threshold:
        dA *= threshold / norm
        dB *= threshold / norm
    return norm
