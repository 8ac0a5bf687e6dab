"""Vectors of texts from a static embedding that is bundled in a package: no network, no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lorabank.evaluation.sources.table import INSTALL, SourceUnavailableError
from lorabank.types.arrays import FloatArray

SPACE = "wordllama-256-centred"


def embed(texts: tuple[str, ...]) -> FloatArray:
    """float32 (N, 256): static embeddings, centred over all texts and scaled to unit length.

    Raises:
        SourceUnavailableError: wordllama is not installed.
    """
    try:
        import wordllama
    except ImportError as exc:
        raise SourceUnavailableError(INSTALL) from exc
    # Its default load looks in a folder that the package does not ship.
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    return centred(np.asarray(model.embed(list(texts)), np.float32))


def centred(vectors: FloatArray) -> FloatArray:
    """The rows minus their mean, scaled to unit length; a zero row stays zero."""
    return unit(vectors - vectors.mean(axis=0))


def unit(vectors: FloatArray) -> FloatArray:
    """The rows scaled to unit length; a zero row stays zero."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = (vectors / np.where(norm > 0, norm, 1)).astype(np.float32)
    return scaled
