"""A scene is set up once; its work is done several times, each time under watch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from lorabank_bench.setup import Setup

Work: TypeAlias = Callable[[], Awaitable[object]]
Scene: TypeAlias = Callable[[Setup], AbstractAsyncContextManager[Work]]
