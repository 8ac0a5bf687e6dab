"""Ids as small numbers, and a sample of users that fits a bound while it is being drawn."""

from __future__ import annotations

import hashlib

import numpy as np

from lorabank.evaluation.sources.table import Codes
from lorabank.types.arrays import BoolArray

UNKNOWN = -1


class Codebook:
    """Numbers for ids, given in the order in which ids appear."""

    def __init__(self) -> None:
        self._codes: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def add(self, key: bytes) -> bool:
        """Give the next number to a new id; False if it has one."""
        if key in self._codes:
            return False
        self._codes[key] = len(self._codes)
        return True

    def known(self, keys: list[bytes]) -> Codes:
        """The numbers of ids, `UNKNOWN` for those that have none."""
        return np.array([self._codes.get(key, UNKNOWN) for key in keys], np.int32)


class UserSample:
    """Users whose hash falls below a threshold, which halves whenever too many rows are held.

    So a log of any length is read once, in bounded memory, and a user is kept with all rows or
    with none. The same seed keeps the same users, in whatever order the file is. This is
    adaptive sampling (Flajolet 1990).
    """

    def __init__(self, seed: int) -> None:
        self._salt = seed.to_bytes(8, "little", signed=False)
        self._codes: dict[bytes, int] = {}
        self._hashes: list[int] = []
        self.level = 0

    @property
    def share(self) -> float:
        """Of the users that is kept: a power of one half."""
        return float(2.0**-self.level)

    @property
    def met(self) -> int:
        """Users met; while sampling, those kept scaled up by the share."""
        return len(self._codes) << self.level

    def codes(self, keys: list[bytes]) -> Codes:
        """The numbers of users, `UNKNOWN` for those outside the sample."""
        return np.array([self._code(key) for key in keys], np.int32)

    def halve(self) -> tuple[BoolArray, Codes]:
        """Drop every user above the next threshold: (who stays, everyone's new number)."""
        self.level += 1
        hashes = np.array(self._hashes, np.uint64)
        stays: BoolArray = hashes < np.uint64(self._threshold())
        renumbered = (np.cumsum(stays) - 1).astype(np.int32)
        self._codes = {
            key: int(renumbered[code]) for key, code in self._codes.items() if stays[code]
        }
        self._hashes = hashes[stays].tolist()
        return stays, renumbered

    def _code(self, key: bytes) -> int:
        code = self._codes.get(key)
        if code is None:
            digest = hashlib.blake2b(key, digest_size=8, key=self._salt).digest()
            position = int.from_bytes(digest, "little")
            if position >= self._threshold():
                return UNKNOWN
            code = self._codes[key] = len(self._codes)
            self._hashes.append(position)
        return code

    def _threshold(self) -> int:
        return (1 << (64 - self.level)) - 1
