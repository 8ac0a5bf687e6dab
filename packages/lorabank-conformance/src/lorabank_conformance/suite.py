"""What all suites share: the fixture that an author gives, and the guard over the laws."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from lorabank.types.space import EmbeddingSpace
from lorabank_conformance.elsewhere import Address
from lorabank_conformance.laws import PREFIX, Opener, law_of
from lorabank_conformance.samples import Samples

GUARD = "test_laws_are_not_overridden"


class Suite:
    """Laws as tests; subclass one of the suites and give the fixture `opener`.

    Attributes:
        space: the embedding space that the laws use, of at least 4 dimensions. Change it if the
            backend works in only one space.
        patience: seconds after which a law that hangs has failed; a busy machine needs many.
        address: how another process opens what ``opener`` opens. Set it there, for a store that
            processes share; without it, the laws of two processes are skipped.
    """

    space: EmbeddingSpace = EmbeddingSpace("conformance", 8)
    patience: ClassVar[float] = 100.0
    address: Address | None = None

    @pytest.fixture
    def opener(self) -> Opener:
        """A function that opens what is proved, as an async context manager.

        Every test gets a new place (a fresh directory, say). Within a test, calling the function
        again opens the same place again.
        """
        pytest.fail(f"{type(self).__name__} must give the fixture `opener`")

    @pytest.fixture(params=["asyncio", "trio"])
    def async_library(self, request: pytest.FixtureRequest) -> str:
        """Every law runs on both."""
        return str(request.param)

    @property
    def make(self) -> Samples:
        """Builds records of the suite's space."""
        return Samples(self.space)

    @asynccontextmanager
    async def opened(self, opener: Opener) -> AsyncIterator[Any]:
        """Open it, and bind it to the suite's space."""
        async with opener() as subject:
            await subject.bind(self.space)
            yield subject

    def test_laws_are_not_overridden(self) -> None:
        """Protects whoever reads "passes the kit": an exception to a law is marked and reasoned."""
        assert not silent_overrides(type(self))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if GUARD in vars(cls):
            raise TypeError(f"{cls.__name__} must not override {GUARD}")


def silent_overrides(suite: type) -> list[str]:
    """Names of laws that a suite replaces without ``@pytest.mark.xfail(reason=...)``."""
    return [name for name in dir(suite) if _is_law(suite, name) and not _is_honest(suite, name)]


def _is_law(suite: type, name: str) -> bool:
    return name.startswith(PREFIX) and _original(suite, name) is not None


def _is_honest(suite: type, name: str) -> bool:
    current = getattr(suite, name)
    if current is _original(suite, name):
        return True
    marks = getattr(current, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


def _original(suite: type, name: str) -> Any:
    """The law of this name as the kit states it."""
    stated = (vars(cls).get(name) for cls in suite.__mro__ if _is_ours(cls))
    return next((test for test in stated if law_of(test) is not None), None)


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith(f"{__package__}.")
