"""Duties and leases in memory."""

from __future__ import annotations

import math
from itertools import count

from lorabank.stores.base import GRACE, Duty, DutyKind

MOST = 256


class Duties:
    """What is owed: at most one duty of each kind and key, in the order in which they were owed."""

    def __init__(self) -> None:
        self._owed: dict[tuple[DutyKind, str], tuple[Duty, float]] = {}
        self._numbers = count()

    def owe(self, kind: DutyKind, key: str, since: float = -math.inf) -> None:
        """Note one; after a forgetting at ``since`` it is due a little later."""
        self._owed.pop((kind, key), None)
        self._owed[kind, key] = Duty(kind, key, next(self._numbers)), since + GRACE

    def due(self, kind: DutyKind, now: float, key: str | None) -> list[Duty]:
        """See `AdapterStore.duties`."""
        found = (duty for duty, due in self._owed.values() if due <= now and duty.kind == kind)
        return [duty for duty in found if key in (None, duty.key)][:MOST]

    def discharge(self, duty: Duty) -> None:
        """See `AdapterStore.discharge`."""
        found = self._owed.get((duty.kind, duty.key))
        if found is not None and found[0] == duty:
            del self._owed[duty.kind, duty.key]


class Leases:
    """Who holds what, and until when."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, float]] = {}

    def take(self, name: str, holder: str, now: float, seconds: float) -> bool:
        """See `AdapterStore.lease`."""
        owner, expires = self._held.get(name, (holder, now))
        if owner != holder and expires > now:
            return False
        self._held[name] = (holder, now + seconds)
        return True
