"""Waiting for foreign code that cancels, itself or us."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from lorabank.errors import BankUnavailableError
from lorabank.waiting import patience, undisturbed

asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@pytest.mark.parametrize(("budget", "wait"), [(0.02, 0.015), (0.1, 0.09), (5.0, 4.99)])
def test_a_quarter_of_a_budget_is_kept_but_no_more_than_ten_milliseconds(
    budget: float, wait: float
) -> None:
    assert patience(budget) == pytest.approx(wait)


async def raises_it() -> None:
    raise asyncio.CancelledError


async def awaits_a_cancelled_task() -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    task.cancel()
    await task


async def cancels_our_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.lowlevel.checkpoint()


@asyncio_only
@pytest.mark.parametrize("question", [raises_it, awaits_a_cancelled_task, cancels_our_task])
async def test_a_bank_that_cancels_itself_is_a_fault_of_the_bank(question) -> None:
    with anyio.fail_after(5):
        for _ in range(2):
            with pytest.raises(BankUnavailableError, match="cancelled by the bank itself"):
                await undisturbed("question", question)
            await anyio.lowlevel.checkpoint()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()


async def test_a_scope_around_us_still_cancels() -> None:
    after = []
    with anyio.move_on_after(0) as scope:
        await undisturbed("question", anyio.sleep_forever)
        after.append("not reached")
    assert scope.cancelled_caught
    assert not after


async def test_answers_and_errors_pass() -> None:
    async def answer(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 1 // number

    assert await undisturbed("question", answer, 1) == 1
    with pytest.raises(ZeroDivisionError):
        await undisturbed("question", answer, 0)
