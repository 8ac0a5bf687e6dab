"""Student's t distribution with any positive number of degrees of freedom.

The tail is a regularised incomplete beta function, evaluated by its continued fraction.
Sources: NIST DLMF 8.17.22 (the fraction) and 8.17.4 (symmetry); Lentz's method as modified by
Thompson and Barnett 1986; Abramowitz and Stegun 26.5.27 (t as a beta).
"""

from __future__ import annotations

import math
from functools import lru_cache

from lorabank.errors import InvalidInputError
from lorabank.types.checks import check_positive

_TINY = 1e-300
_PRECISION = 1e-14
_MOST_TERMS = 10_000


def student_cdf(t: float, df: float) -> float:
    """P(T <= t), to 1e-10 (1e-7 for df beyond a million); t may be infinite.

    Raises: InvalidInputError for NaN, or df that is not a finite number above 0.
    """
    check_positive(df, "df")
    if math.isnan(t):
        raise InvalidInputError("t", t, "a number")
    tail = _upper_tail(abs(t), df)
    return tail if t < 0 else 1.0 - tail


@lru_cache(maxsize=1024)
def student_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, as precise as `student_cdf`; infinite for p of 0 or 1.

    Raises: InvalidInputError for p outside [0, 1], or df that is not a finite number above 0.
    """
    check_positive(df, "df")
    if not 0.0 <= p <= 1.0:
        raise InvalidInputError("p", p, "a probability")
    if p in (0.0, 1.0):
        return math.inf if p else -math.inf
    if p == 0.5:
        return 0.0
    return _positive_quantile(1.0 - p, df) if p > 0.5 else -_positive_quantile(p, df)


def _positive_quantile(tail: float, df: float) -> float:
    """The t > 0 that leaves ``tail`` < 1/2 above it: Newton steps kept inside a bracket."""
    low, high = 0.0, 1.0
    while _upper_tail(high, df) > tail and high < 1e300:
        low, high = high, 2.0 * high
    t = 0.5 * (low + high)
    for _ in range(200):
        excess = _upper_tail(t, df) - tail
        low, high = (t, high) if excess > 0 else (low, t)
        step = excess / _density(t, df)
        candidate = t + step
        if not low < candidate < high:
            candidate = 0.5 * (low + high)
        if abs(candidate - t) <= 1e-13 * t:
            return candidate
        t = candidate
    return t


def _upper_tail(t: float, df: float) -> float:
    """P(T > t) for t >= 0."""
    square = t * t
    if square == math.inf:
        return 0.0
    return 0.5 * _beta(df / (df + square), square / (df + square), 0.5 * df, 0.5)


def _density(t: float, df: float) -> float:
    log_constant = math.lgamma(0.5 * (df + 1)) - math.lgamma(0.5 * df)
    log_constant -= 0.5 * math.log(df * math.pi)
    return math.exp(log_constant - 0.5 * (df + 1) * math.log1p(t * t / df)) + _TINY


def _beta(x: float, y: float, a: float, b: float) -> float:
    """Regularised incomplete beta I_x(a, b); ``y`` is 1 - x, given for its precision."""
    if x <= 0.0:
        return 0.0
    if y <= 0.0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log(y))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(y, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
