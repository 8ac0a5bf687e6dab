"""Cancelling a coroutine at a chosen await."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest


class _Cancelling:
    """Awaits a coroutine and cancels the scope at its k-th suspension."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], k: int, scope: anyio.CancelScope):
        self._coroutine, self._left, self._scope = coroutine, k, scope

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = lambda: self._coroutine.send(None)  # noqa: E731
        while True:
            try:
                trap = step()
            except StopIteration as stop:
                return stop.value
            if self._left == 0:
                self._scope.cancel()
            self._left -= 1
            try:
                value = yield trap
            except BaseException as exc:  # noqa: BLE001 - handed on
                step = _thrower(self._coroutine, exc)
            else:
                step = _sender(self._coroutine, value)


def _sender(coroutine: Coroutine[Any, Any, Any], value: object) -> Callable[[], Any]:
    return lambda: coroutine.send(value)


def _thrower(coroutine: Coroutine[Any, Any, Any], exc: BaseException) -> Callable[[], Any]:
    return lambda: coroutine.throw(exc)


@pytest.fixture
def cancel_at() -> Callable[[int, Coroutine[Any, Any, Any]], Awaitable[bool]]:
    """``await cancel_at(k, coroutine)``: whether it completed before its k-th suspension."""

    async def run(k: int, coroutine: Coroutine[Any, Any, Any]) -> bool:
        with anyio.CancelScope() as scope:
            await _Cancelling(coroutine, k, scope)
        return not scope.cancel_called

    return run
