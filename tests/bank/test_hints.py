"""Hints as text and back, and their application within bounds."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lorabank.hints import HintBounds, apply_hints, parse_hints, render_strategy
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.strategy import ArmEffect, Strategy

DEFAULTS = Hyperparameters(learning_rate=0.05, clip_threshold=1.0, ewc_strength=0.0, steps=1)
NUMBERS = ("learning_rate", "clip_threshold", "ewc_strength", "steps", "confidence")

positive = st.floats(min_value=1e-300, max_value=1e300)
effects = st.builds(
    ArmEffect,
    parameter=st.sampled_from(NUMBERS[:4]),
    factor=st.floats(0, 1e6),
    mean=st.floats(-0.5, 0.5),
    standard_error=st.floats(0, 1),
    lower=st.floats(-1e3, 0.5),
    upper=st.floats(-0.5, 1e3),
    trials=st.integers(1, 10**6),
    users=st.integers(1, 10**6),
    probability=st.floats(0, 1),
)
hints = st.builds(
    Hints,
    learning_rate=st.none() | positive,
    clip_threshold=st.none() | positive,
    ewc_strength=st.none() | positive | st.just(0.0),
    steps=st.none() | st.integers(1, 10**9),
    confidence=st.floats(0, 1),
)


def numbers(of: Hints) -> dict[str, object]:
    return {name: getattr(of, name) for name in NUMBERS}


@given(hints, st.lists(effects, max_size=6))
@example(Hints(), [])
def test_what_is_rendered_is_read_back(hint: Hints, tried: list[ArmEffect]) -> None:
    if not any(getattr(hint, name) is not None for name in NUMBERS[:4]):
        hint = Hints()
    strategy = Strategy(hints=hint, effects=tuple(tried), confidence=hint.confidence)
    assert numbers(parse_hints(render_strategy(strategy))) == numbers(hint)


def test_the_text_gives_the_evidence() -> None:
    effect = ArmEffect("learning_rate", 0.4, 0.031, 0.01, 0.012, 0.05, 80, 42, 0.999)
    other = replace(effect, parameter="steps", factor=2.0, mean=-0.01, lower=-0.02, upper=0.0)
    hint = Hints(learning_rate=0.02, confidence=0.99)
    text = render_strategy(Strategy(hints=hint, effects=(effect, other)))
    assert text.splitlines() == [
        "learning rate: 0.02 (3.1 % [1.2, 5.0] less next-batch loss than 0.05, 42 users)",
        "gradient steps: keep the default; best tried, x2: -1.0 % [-2.0, 0.0] less next-batch "
        "loss, 42 users",
        "confidence: 0.99",
    ]


def test_without_evidence_it_says_so() -> None:
    assert "keep them" in render_strategy(Strategy())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I recommend a learning rate of 0.02 and clip threshold ~1.5.", (0.02, 1.5)),
        ("learning_rate=1e-3; clip_threshold = 2", (1e-3, 2.0)),
        ("**Learning Rate**: `0.02`", (0.02, None)),
        ("lr → 3e-4, gradient clipping at 0.7", (3e-4, 0.7)),
        ("learning rate: 1\u00d710⁻³", (1e-3, None)),
        ("learning rate is \uff11\uff0e\uff15 · nothing else", (1.5, None)),
        ("Learning rate should be set to about 0,4!", (0.4, None)),
        ("learning rate - .5", (0.5, None)),
        ("The learning rate: high. Later: learning rate 0.1", (0.1, None)),
        ("learning rate: 0.02 (lower by 20 %)", (0.02, None)),
        ("grad clip norm 1\nlearning-rate 0.02", (0.02, 1.0)),
    ],
)
def test_prose_and_unicode_are_read(text: str, expected: tuple[float | None, ...]) -> None:
    found = parse_hints(text)
    assert (found.learning_rate, found.clip_threshold) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("nan", "inf", "1e999", "high", "", "0", "-0.02", "\u22120.02"),
        *("20 %", "20%", "2x", "x2", "2 times lower", "1/100", "0x10", "0.02abc"),
        *("0.01-0.05", "0.01 \u2013 0.05", "0.01 to 0.05", "between 1 and 2", "0.1 or 0.2"),
        *("1,500", "1.2.3", "[0.1, 0.2]", "mattered for 42"),
    ],
)
def test_what_is_not_clearly_a_value_is_passed_over(value: str) -> None:
    assert parse_hints(f"learning rate: {value}") == Hints()


def test_steps_are_whole_and_not_just_any_steps() -> None:
    assert parse_hints("steps: 3").steps == 3
    assert parse_hints("use gradient steps = 2.0").steps == 2
    for text in ("gradient steps: 2.5", "Next steps: 1", "steps: 0", "steps: -1"):
        assert parse_hints(text).steps is None


@pytest.mark.parametrize("given_", [None, 7, b"learning rate: 1", ["learning rate: 1"], {}])
def test_what_is_no_text_gives_no_hints(given_: object) -> None:
    assert parse_hints(given_) == Hints()


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    for tried in (text, f"learning rate {text}", f"lr: {text} clip {text}"):
        found = parse_hints(tried)
        for name in NUMBERS:
            value = getattr(found, name)
            assert value is None or (math.isfinite(value) and value >= 0)


@pytest.mark.parametrize(
    "piece",
    [
        *(" ", "\n", "1", "1,", "1.", "* ", "⁻", "\ufdfa", "learning rate ", "lr(lr)", "lr:1"),
        *("clip", "lr is of to ", "lr 1 x 10 ^ ", "steps ", "(number of ", "ewc++ "),
        "lr" + ":" * 16,
    ],
)
def test_long_hostile_text_takes_time_in_proportion(piece: str) -> None:
    started = time.perf_counter()
    parse_hints("learning rate" + piece * (1_000_000 // len(piece)))
    assert time.perf_counter() - started < 1.0


def test_hints_within_bounds_are_applied() -> None:
    hint = Hints(learning_rate=0.02, clip_threshold=10.0, ewc_strength=1.0, steps=5)
    applied = ("learning_rate", "clip_threshold", "ewc_strength", "steps")
    assert apply_hints(hint, DEFAULTS) == (Hyperparameters(0.02, 10.0, 1.0, 5), applied, ())


@pytest.mark.parametrize(
    ("hint", "bounds"),
    [
        (Hints(learning_rate=0.6), "[0.005, 0.5]"),
        (Hints(learning_rate=0.004), "[0.005, 0.5]"),
        (Hints(learning_rate=math.nan), "[0.005, 0.5]"),
        (Hints(learning_rate="0.02"), "[0.005, 0.5]"),
        (Hints(learning_rate=True), "[0.005, 0.5]"),
        (Hints(clip_threshold=-1.0), "[0.1, 10]"),
        (Hints(clip_threshold=[1.0]), "[0.1, 10]"),
        (Hints(ewc_strength=1.5), "[0, 1]"),
        (Hints(ewc_strength=math.inf), "[0, 1]"),
        (Hints(steps=6), "[1, 5]"),
        (Hints(steps=0), "[1, 5]"),
        (Hints(steps=2.5), "[1, 5]"),
        (Hints(steps=10**5000), "[1, 5]"),
        (Hints(steps=np.array([1, 2])), "[1, 5]"),
    ],
)
def test_hints_outside_are_refused_with_value_and_bounds(hint: Hints, bounds: str) -> None:
    hyper, applied, (reason,) = apply_hints(hint, DEFAULTS)
    assert (hyper, applied) == (DEFAULTS, ())
    assert bounds in reason
    assert "got" in reason


def test_one_bad_hint_does_not_stop_the_others() -> None:
    hyper, applied, refused = apply_hints(Hints(learning_rate=9.0, steps=2), DEFAULTS)
    assert (hyper, applied, len(refused)) == (replace(DEFAULTS, steps=2), ("steps",), 1)


def test_the_strength_of_ewc_is_bounded_by_its_default() -> None:
    defaults = replace(DEFAULTS, ewc_strength=2.0)
    for value, fits in ((0.0, True), (20.0, True), (20.5, False)):
        assert bool(apply_hints(Hints(ewc_strength=value), defaults)[1]) is fits


def test_numbers_of_other_types_are_numbers() -> None:
    hint = Hints(
        learning_rate=np.float32(0.5) / 8, clip_threshold=Fraction(1, 2), steps=np.int64(3)
    )
    hyper, _, refused = apply_hints(hint, DEFAULTS)
    assert (hyper.learning_rate, hyper.clip_threshold, hyper.steps) == (0.0625, 0.5, 3)
    assert type(hyper.steps) is int
    assert refused == ()


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __float__ = __int__ = __bool__ = __eq__ = __hash__ = __repr__  # type: ignore[assignment]


anything = st.one_of(
    st.none(), st.text(), st.floats(), st.integers(), st.binary(), st.booleans(),
    st.lists(st.floats()), st.just(Decimal("sNaN")), st.just(10**400),
    st.complex_numbers(),
)  # fmt: skip


@given(anything, anything, anything, anything)
def test_nonsense_of_any_type_never_raises(a: object, b: object, c: object, d: object) -> None:
    hint = Hints(learning_rate=a, clip_threshold=b, ewc_strength=c, steps=d)  # type: ignore[arg-type]
    hyper, applied, refused = apply_hints(hint, DEFAULTS)
    given_ = [value for value in (a, b, c, d) if value is not None]
    assert len(applied) + len(refused) == len(given_)
    assert 0.005 <= hyper.learning_rate <= 0.5
    assert hyper.steps in range(1, 6)


def test_not_even_a_hostile_object_makes_it_raise() -> None:
    hint = Hints(learning_rate=Hostile(), steps=Hostile())  # type: ignore[arg-type]
    assert len(apply_hints(hint, DEFAULTS)[2]) == 2
    assert apply_hints(Hostile(), DEFAULTS)[2] == ("hints: got a Hostile, expected Hints",)


@given(anything)
def test_hints_that_are_no_hints_are_refused_whole(nonsense: object) -> None:
    hyper, applied, refused = apply_hints(nonsense, DEFAULTS)
    assert (hyper, applied) == (DEFAULTS, ())
    assert len(refused) == (nonsense is not None)


def test_bounds_can_be_set() -> None:
    bounds = HintBounds(highest_factor=100.0)
    assert apply_hints(Hints(learning_rate=4.0), DEFAULTS, bounds)[0].learning_rate == 4.0
