"""The benchmarks' own arithmetic, and that the guard can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorabank_bench import guard
from lorabank_bench.measuring import Case, Timings, interleaved
from lorabank_bench.report import BEGIN, END, markdown, write_into
from lorabank_bench.results import Figure, Results

MACHINE = {
    "processor": "p",
    "cores": 1,
    "system": "s",
    "python": "3",
    "numpy": "2",
    "sqlite": "3",
    "versions": {"lorabank": "0"},
    "blas": "openblas",
    "blas_dropped": {"OPENBLAS_CORETYPE": "Haswell"},
    "load_at_start": 0.0,
}


def at_speed(name: str, *, seconds: float, turns: list[str]) -> Case:
    def run(count: int) -> float:
        turns.append(name)
        return count * seconds

    return Case(name, run)


def test_cases_take_turns_and_last_as_long_as_asked() -> None:
    turns: list[str] = []
    cases = [at_speed("a", seconds=1e-6, turns=turns), at_speed("b", seconds=3e-6, turns=turns)]
    times = interleaved(cases, rounds=4, seconds=0.01)
    assert turns[-8:] == ["a", "b"] * 4
    assert times.median("a") == pytest.approx(1e-6)
    assert times.ratio("b", "a") == pytest.approx(3.0)


def test_a_ratio_is_taken_within_each_round() -> None:
    slowed = Timings({"own": [1.0, 10.0, 100.0], "other": [2.0, 20.0, 200.0]})
    assert slowed.ratio("own", "other") == 0.5
    assert slowed.median("own") == 10.0
    assert slowed.best("other") == 2.0


@pytest.mark.parametrize(("seconds", "well"), [(1.5e-6, True), (2.5e-6, False)])
def test_the_guard_holds_up_what_is_too_slow(seconds: float, well: bool) -> None:
    own = at_speed("own", seconds=seconds, turns=[])
    other = at_speed("other", seconds=1e-6, turns=[])
    assert guard._holds(guard.Limit(own, other, 2.0)) is well


def test_the_guard_lets_a_neighbour_go_away() -> None:
    """One who is there for the first try alone; what is slow by itself stays so."""
    tries = []

    def run(count: int) -> float:
        tries.append(count)
        return count * (2.5e-6 if len(tries) < 30 else 1.5e-6)

    other = at_speed("other", seconds=1e-6, turns=[])
    assert guard._holds(guard.Limit(Case("own", run), other, 2.0))
    assert len(tries) > 30


def test_a_page_keeps_what_is_not_generated(tmp_path: Path) -> None:
    results = Results(MACHINE, quick=True)
    results.add(Figure("forward", "1 x 64", "numpy", 2.0, "us", 0.5, "plain numpy"))
    results.add(Figure("forward", "1 x 64", "plain numpy", 4.0, "us"))
    results.add(Figure("forward", "8 x 64", "plain numpy", 7.0, "us"))
    results.add(Figure("forward", "8 x 64", "more", 7.0, "us", detail=True))
    results.add(Figure("updates", "warm", "median", 8.0, "us", 2.0, "plain numpy"))
    results.add(Figure("updates", "warm", "p99", 24.0, "us", 3.0, "median"))
    results.mark("forward", "<= 1 us", "2 us", reached=False, bound="the memory")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_into(page, results)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "| forward | <= 1 us | 2 us | **missed**: the memory |" in text
    assert "In brackets: times plain numpy, in the same run.\n\n|  | numpy | plain numpy |" in text
    assert "| 1 x 64 | 2 us (0.5 x) | 4 us |\n| 8 x 64 |  | 7 us |" in text
    assert "| warm | 8 us (2 x plain numpy) | 24 us (3 x median) |" in text
    assert "(of the environment, OPENBLAS_CORETYPE=Haswell was not used)" in text
    assert "--quick" in markdown(results)
    page.write_text("no markers")
    with pytest.raises(ValueError, match="needs the lines"):
        write_into(page, results)
