"""Waiting for somebody else's answer, but not for ever."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import anyio

from lorabank.errors import BankUnavailableError

T = TypeVar("T")


async def within(deadline: float, answer: Awaitable[T], what: str) -> T:
    """Await ``answer`` for at most ``deadline`` seconds.

    Raises:
        BankUnavailableError: no answer in time.
    """
    try:
        with anyio.fail_after(deadline):
            return await answer
    except TimeoutError as exc:
        raise BankUnavailableError(f"{what}: no answer within {deadline:g} s") from exc
