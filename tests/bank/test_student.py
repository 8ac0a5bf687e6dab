"""Student's t against closed forms, published tables, and itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorabank.errors import InvalidInputError
from lorabank.statistics import student_cdf, student_quantile

# Published tables of t (two-sided 95 % and 99 %) and of the normal distribution.
TABLE = [
    (0.975, 3, 3.182446305284263),
    (0.975, 4, 2.7764451051977987),
    (0.975, 10, 2.228138851964939),
    (0.975, 30, 2.042272456301238),
    (0.995, 29, 2.756385903670605),
    (0.975, 1e8, 1.959963984540054),
]


@pytest.mark.parametrize(("p", "df", "expected"), TABLE)
def test_quantiles_are_those_of_the_tables(p: float, df: float, expected: float) -> None:
    assert student_quantile(p, df) == pytest.approx(expected, rel=1e-6)


@given(st.floats(-50, 50))
def test_one_and_two_degrees_of_freedom_have_closed_forms(t: float) -> None:
    assert student_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
    assert student_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)


@pytest.mark.parametrize("df", [0.5, 2.5, 7.3, 40.9])
def test_fractional_degrees_of_freedom_agree_with_the_integral_of_the_density(df: float) -> None:
    x = np.linspace(0.0, 2.0, 20_001)
    log_constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    density = np.exp(log_constant - (df + 1) / 2 * np.log1p(x**2 / df))
    integral = float(np.sum((density[1:] + density[:-1]) / 2) * (x[1] - x[0]))
    assert student_cdf(2.0, df) == pytest.approx(0.5 + integral, abs=1e-8)


@given(st.floats(1e-8, 1 - 1e-8), st.floats(0.2, 1e5))
def test_the_quantile_inverts_the_distribution(p: float, df: float) -> None:
    t = student_quantile(p, df)
    assert student_cdf(t, df) == pytest.approx(p, abs=1e-9, rel=1e-6)
    assert student_quantile(1 - p, df) == pytest.approx(-t, rel=1e-5, abs=1e-9)


def test_the_ends() -> None:
    assert student_quantile(0.0, 3) == -math.inf
    assert student_quantile(1.0, 3) == math.inf
    assert student_cdf(math.inf, 3) == 1.0
    assert student_cdf(-math.inf, 3) == 0.0
    assert student_cdf(0.0, 3) == 0.5


def test_nonsense_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="df"):
        student_cdf(1.0, 0.0)
    with pytest.raises(InvalidInputError, match="t: got nan"):
        student_cdf(math.nan, 3)
    with pytest.raises(InvalidInputError, match="p: got"):
        student_quantile(1.5, 3)
