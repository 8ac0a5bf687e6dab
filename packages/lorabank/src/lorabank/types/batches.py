"""Many users' feedback, in a form that costs Python's collector of cycles nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from lorabank.types.feedback import Feedback
from lorabank.types.values import restored

# The fields of a `Feedback`, as `lorabank.types.values.parts_of` gives them.
Parts: TypeAlias = tuple[Any, ...]


class Batches(Mapping[str, Sequence[Feedback]]):
    """Each user's batches, oldest first; one becomes a `Feedback` when it is looked at.

    Held are flat tuples of arrays, which the collector leaves alone after a first look. As many
    objects would have it stop every thread, the event loop's too, while it walks them.
    """

    def __init__(self) -> None:
        self._parts: dict[str, tuple[Parts, ...]] = {}

    def add(self, user_key: str, *batches: Parts) -> None:
        """Append to what the user has."""
        self._parts[user_key] = (*self._parts.get(user_key, ()), *batches)

    def __getitem__(self, user_key: str) -> Sequence[Feedback]:
        return [restored(Feedback, parts) for parts in self._parts[user_key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
