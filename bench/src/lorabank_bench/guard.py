"""The guard against regressions: ratios within one run, best of interleaved rounds, wide margins.

A limit is two to four times what machines show, quiet or busy: it catches work that came back to
the hot path, and no noise: what is beyond it is measured again, since a neighbour goes away and
such work does not. Absolute times are never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lorabank import EmbeddingSpace, EngineConfig, ItemPool, Personalizer, QueryConfig, TrialConfig
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.adapter import Adapter
from lorabank.kernels import NUMPY, open_kernel
from lorabank_bench.looping import in_loop, run_in_loop
from lorabank_bench.measuring import Case, case, interleaved
from lorabank_bench.results import say
from lorabank_bench.setup import feedback, trained, unit_rows
from lorabank_bench.suites.single import plain_forward, plain_step

DIM, RANK = 384, 8
# Times that a limit is tried.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """``subject`` may take at most ``most`` times as long as ``reference``."""

    subject: Case
    reference: Case
    most: float


def guarded() -> bool:
    """Whether all ratios are within their limits."""
    return all([_holds(limit) for limit in [*_numeric(), *_encoding()]] + in_loop(_engine))


def _holds(limit: Limit) -> bool:
    cases = [limit.subject, limit.reference]
    for _ in range(ATTEMPTS):
        times = interleaved(cases, rounds=25, seconds=0.02)
        found = times.best(limit.subject.name) / times.best(limit.reference.name)
        well = found <= limit.most
        verdict = "ok" if well else "TOO SLOW"
        names = f"{limit.subject.name} / {limit.reference.name}"
        say(f"{verdict}: {names}: {found:.2f} (limit {limit.most:g})")
        if well:
            return True
    return False


def _numeric() -> Sequence[Limit]:
    x, batch, kernel = unit_rows(1, DIM)[0], feedback(10, DIM), open_kernel("auto")
    out, target = x.copy(), batch.target
    assert target is not None
    fast, plain = trained(DIM, RANK, kernel), trained(DIM, RANK, NUMPY)
    by_hand = plain_forward(DIM, RANK, x)
    step = case("step by hand", lambda: plain_step(plain.A, plain.B, batch.x, target))
    A, B = fast.A.copy(), fast.B.copy()

    def one_step() -> None:
        energy, _ = kernel.mse_sums(batch.x, target, None)
        kernel.mse_update(fast.A, fast.B, 1.0, batch.x, target, None, energy, 0.3, 1.0, A, B)

    compiled = kernel is not NUMPY
    return [
        Limit(case("transform, numpy", lambda: plain.transform(x, out=out)), by_hand, 8.0),
        Limit(
            case(f"transform, {kernel.name}", lambda: fast.transform(x, out=out)),
            by_hand,
            1.0 if compiled else 8.0,
        ),
        Limit(case(f"step, {kernel.name}", one_step), step, 0.7 if compiled else 4.0),
    ]


def _encoding() -> Sequence[Limit]:
    adapter = trained(DIM, RANK)
    data = adapter.to_bytes()
    copy = case("copy of the weights", lambda: (adapter.A.copy(), adapter.B.copy()))
    return [
        Limit(case("to_bytes", adapter.to_bytes), copy, 60.0),
        Limit(case("from_bytes", lambda: Adapter.from_bytes(data)), copy, 90.0),
    ]


async def _engine() -> list[bool]:
    """A warm update, and a rank, against what they cannot do without."""
    query = QueryConfig(refresh_every=10**9)
    config = EngineConfig(EmbeddingSpace("bench", DIM), query=query, trials=TrialConfig(0.0))
    batch, pool = feedback(10, DIM), ItemPool(unit_rows(2_000, DIM))
    target, context = batch.target, unit_rows(1, DIM, 9)[0]
    assert target is not None
    async with (
        Engine(config) as engine,
        Personalizer.open(config, items=pool, fresh_for=1e9) as personalizer,
    ):
        adapter, _ = await engine.update_adapter(await engine.create_adapter("user"), batch)
        await personalizer.rank("user", context)
        update = run_in_loop("update", lambda: engine.update_adapter(adapter, batch))
        step = case("step by hand", lambda: plain_step(adapter.A, adapter.B, batch.x, target))
        rank = run_in_loop("rank", lambda: personalizer.rank("user", context))
        scores = case("scores by hand", lambda: np.argsort(pool.vectors @ context))
        return [_holds(Limit(update, step, 6.0)), _holds(Limit(rank, scores, 4.0))]
