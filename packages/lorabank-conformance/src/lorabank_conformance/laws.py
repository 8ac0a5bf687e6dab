"""What a law is: an async check with an id, run on asyncio and on trio, every wait bounded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
import pytest

from lorabank.protocols import Capability

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
Body: TypeAlias = Callable[..., Awaitable[None]]
LawTest: TypeAlias = Callable[[Any, Opener, str], None]

PREFIX = "test_"
_ATTRIBUTE = "__lorabank_law__"


@dataclass(frozen=True, slots=True)
class Law:
    """A law of a suite.

    Attributes:
        id: such as ``search-order``: the name of the test, ``test_search_order``, tells it.
        protects: what goes wrong in an application where the law does not hold.
        needs: capabilities that it takes; without them it is skipped, and the reason printed.
    """

    id: str
    protects: str
    needs: frozenset[Capability] = frozenset()


class NotApplicableError(Exception):
    """Raised by a law that finds out on its own that it does not apply, with the reason."""


def law(
    *needs: Capability, reopens: bool = False, prepared: bool = True
) -> Callable[[Body], LawTest]:
    """Make a law of an ``async def test_...(self, subject)``.

    Args:
        needs: capabilities without which the law is skipped.
        reopens: the law is given the opener, not what it opens.
        prepared: the subject is bound to the suite's embedding space first.
    """

    def decorate(body: Body) -> LawTest:
        def test(suite: Any, opener: Opener, async_library: str) -> None:
            run = functools.partial(_obey, body, suite, opener, frozenset(needs), reopens, prepared)
            reason = anyio.run(run, backend=async_library)
            if reason is not None:
                pytest.skip(reason)

        signature = inspect.signature(test)
        functools.update_wrapper(test, body)
        test.__signature__ = signature  # type: ignore[attr-defined]
        return _stated(test, frozenset(needs))

    return decorate


def sync_law(test: LawTest) -> LawTest:
    """Make a law of a test that runs event loops itself, and bounds its own waits."""
    return _stated(test, frozenset())


def law_of(test: object) -> Law | None:
    """The law that a test function states, or None."""
    found = getattr(test, _ATTRIBUTE, None)
    return found if isinstance(found, Law) else None


def laws_of(suite: type) -> dict[str, Law]:
    """All laws of a suite by id, in the order of their names."""
    found = (law_of(getattr(suite, name)) for name in dir(suite) if name.startswith(PREFIX))
    return {law.id: law for law in found if law is not None}


def _stated(test: LawTest, needs: frozenset[Capability]) -> LawTest:
    name = test.__name__.removeprefix(PREFIX).replace("_", "-")
    setattr(test, _ATTRIBUTE, Law(name, inspect.getdoc(test) or "", needs))
    return test


async def _obey(
    body: Body,
    suite: Any,
    opener: Opener,
    needs: frozenset[Capability],
    reopens: bool,
    prepared: bool,
) -> str | None:
    """Run a law; the reason if it does not apply."""
    with anyio.fail_after(suite.patience):
        if reopens and not needs:
            return await _verdict(body, suite, opener)
        async with opener() as subject:
            if missing := needs - getattr(subject, "capabilities", frozenset()):
                return f"{', '.join(sorted(need.name for need in missing))} is not declared"
            if not reopens:
                if prepared:
                    await subject.bind(suite.space)
                # Caught here, so that a failure isn't wrapped by task groups of the subject.
                failure = await _attempt(body, suite, subject)
        if reopens:
            failure = await _attempt(body, suite, opener)
    return _reason_or_raise(failure)


async def _verdict(body: Body, suite: Any, argument: Any) -> str | None:
    return _reason_or_raise(await _attempt(body, suite, argument))


async def _attempt(body: Body, suite: Any, argument: Any) -> Exception | None:
    try:
        await body(suite, argument)
    except Exception as exc:  # noqa: BLE001 - raised again by `_reason_or_raise`
        return exc
    return None


def _reason_or_raise(failure: Exception | None) -> str | None:
    if isinstance(failure, NotApplicableError):
        return str(failure)
    if failure is not None:
        raise failure
    return None
