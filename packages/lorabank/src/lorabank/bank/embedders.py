"""An embedder without a model, for tests, demos and keyword-like text."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

import anyio.lowlevel
import numpy as np
from numpy.typing import NDArray

from lorabank.errors import InvalidInputError
from lorabank.logs import get_logger
from lorabank.types.arrays import FloatArray
from lorabank.types.checks import check_count
from lorabank.types.space import EmbeddingSpace

_log = get_logger("lorabank.bank.embedders")
_WORD = re.compile(r"\w+")
# About a millisecond of hashing; then other tasks get their turn. A worker thread would not help:
# hashing small strings holds the interpreter's lock.
_FEATURES_PER_TURN = 512


class LexicalHashingEmbedder:
    """Hashes words and pairs of neighbouring words into ``dim`` signed buckets, at length one.

    Texts are near each other if they share words. It knows nothing of meaning ("film" and "movie"
    are unrelated), and says so in its space's name and in the log.

    Source: feature hashing with signs, Weinberger et al. 2009, section 2.
    """

    def __init__(self, dim: int = 256) -> None:
        check_count(dim, "dim", low=1)
        self._space = EmbeddingSpace(f"lexical-hashing-{dim}", dim, normalised=True)
        _log.warning("embedder is lexical, not semantic: it compares words", space=self._space.name)

    @property
    def space(self) -> EmbeddingSpace:
        """``lexical-hashing-<dim>``, normalised."""
        return self._space

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """float32 (len(texts), dim), each row of length one.

        Raises: InvalidInputError if ``texts`` is a single string, or holds anything else.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InvalidInputError("texts", texts, "a sequence of strings")
        rows = np.zeros((len(texts), self._space.dim), np.float64)
        await anyio.lowlevel.checkpoint()
        for row, text in zip(rows, texts, strict=True):
            await self._add_features(row, text)
            if not row.any():  # no words, or all of them cancelled out: the text as one feature
                row[self._bucket(text)[0]] = 1.0
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)

    async def _add_features(self, row: NDArray[np.float64], text: str) -> None:
        for count, feature in enumerate(_features(text), start=1):
            bucket, sign = self._bucket(feature)
            row[bucket] += sign
            if not count % _FEATURES_PER_TURN:
                await anyio.lowlevel.checkpoint()

    def _bucket(self, feature: str) -> tuple[int, float]:
        digest = hashlib.blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest()
        number = int.from_bytes(digest, "big")
        return (number >> 1) % self._space.dim, 1.0 if number & 1 else -1.0


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    yield from words
    yield from (" ".join(pair) for pair in pairwise(words))
