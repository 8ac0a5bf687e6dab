"""Waiting for somebody else's answer, but not for ever, and whatever they raise."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio

from lorabank.errors import BankUnavailableError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
# What is kept of a budget, in seconds at most: the event loop wakes nobody before its timer, and
# often some milliseconds later, and who waited has work of its own to do then.
_KEPT, _KEPT_AT_MOST = 0.25, 0.01


def patience(budget: float) -> float:
    """Seconds to wait where the whole of it, the late end of the wait too, has so many seconds."""
    return budget - min(_KEPT * budget, _KEPT_AT_MOST)


async def within(
    deadline: float, what: str, question: Callable[[*Ts], Awaitable[T]], *arguments: *Ts
) -> T:
    """Await ``question(*arguments)`` for at most ``deadline`` seconds.

    Raises:
        BankUnavailableError: no answer in time, or the other side cancelled itself.
    """
    try:
        with anyio.fail_after(deadline):
            return await apart(what, question, *arguments)
    except TimeoutError as exc:
        raise BankUnavailableError(f"{what}: no answer within {deadline:g} s") from exc


async def undisturbed(what: str, question: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """Await ``question(*arguments)`` in a task of the engine's own, which only a scope may cancel.

    Foreign code may raise asyncio's CancelledError though nobody has cancelled it (a task of its
    own was, or it cancels ours). That would look like our own cancellation, and end the task in
    silence. In somebody else's task, which may be cancelled without a scope, use `apart`.

    Raises:
        BankUnavailableError: it cancelled itself.
    """
    try:
        return await question(*arguments)
    except anyio.get_cancelled_exc_class() as exc:
        if anyio.current_effective_deadline() == -math.inf:
            raise  # a scope around us is cancelled
        if isinstance(exc, asyncio.CancelledError):
            _uncancel()
        raise BankUnavailableError(f"{what}: cancelled by the bank itself") from exc


async def apart(what: str, question: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """`undisturbed` in anybody's task: ``question`` gets a task of its own.

    Raises:
        BankUnavailableError: it cancelled itself.
    """
    answers: list[T] = []
    failures: list[Exception] = []

    async def ask() -> None:
        try:
            answers.append(await question(*arguments))
        except Exception as exc:  # noqa: BLE001 - raised again below
            failures.append(exc)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
    if failures:
        raise failures[0]
    if not answers:
        raise BankUnavailableError(f"{what}: cancelled by the bank itself")
    return answers[0]


def _uncancel() -> None:
    """Take back what was asked of this asyncio task without a scope."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
