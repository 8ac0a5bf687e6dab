"""MovieLens from a package on the index, and vectors of its titles from a bundled embedding."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.errors import LorabankError
from lorabank.evaluation.sources.embedding import SPACE, embed
from lorabank.evaluation.sources.movielens import Ratings, load_ratings
from lorabank.types.arrays import FloatArray
from lorabank.types.space import EmbeddingSpace

INSTALL = "the demo needs its extra: pip install 'lorabank[demo]'"


class DemoUnavailableError(LorabankError):
    """The demo can't run here; the message says what to install."""


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Ratings with the items' vectors, float32 (N, dim), centred and of unit length."""

    ratings: Ratings
    vectors: FloatArray
    space: EmbeddingSpace


def load() -> Data:
    """The whole data set. Reads installed packages alone, no network.

    Raises:
        SourceUnavailableError: the extra is not installed.
    """
    ratings = load_ratings()
    vectors = embed(ratings.items)
    space = EmbeddingSpace(SPACE, vectors.shape[1], normalised=True)
    return Data(ratings, vectors, space)
