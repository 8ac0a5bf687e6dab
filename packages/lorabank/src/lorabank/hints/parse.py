"""Reading hints out of a bank's text: tolerant of prose, silent about what it can't be sure of.

A value is taken where a parameter's name is followed, over nothing but a few filler words and
signs, by one plain number. Percentages, multiples, ranges, negative numbers and words ("high")
are not values. Every pattern runs in linear time (bounded or possessive repetition), and only the
first `MAX_CHARACTERS` are read.
"""

from __future__ import annotations

import math
import re
import unicodedata

from lorabank.types.hyperparameters import Hints

MAX_CHARACTERS = 10_000

# \u2013 and \u2014 are dashes, \u00d7 is the sign of multiplication.
_FILLER = (
    r"(?:[ \t:=~*_`\"'(>→≈]|[-\u2013\u2014](?=[ \t])"
    r"|\b(?:is|of|to|at|be|set|should|value|about|around|near|roughly|approximately|approx\.?)\b"
    r"){0,16}+"
)
_NUMBER = (
    r"\+?(?P<mantissa>(?:\d{1,25}+(?:[.,]\d{1,25}+)?+|\.\d{1,25}+)(?:[eE][+-]?\d{1,3}+)?+)"
    r"(?:[ \t]{0,2}+[x\u00d7*·][ \t]{0,2}+10[ \t]{0,2}+\^[ \t]{0,2}+(?P<exponent>[+-]?\d{1,3}+))?+"
)
# Not part of a longer token, a share, a multiple, a fraction or a range.
_END = (
    r"(?![\w^])(?![.,]\d)(?![ \t]{0,2}(?:%|‰|percent\b|\u00d7|x\b|x\d|times\b|fold\b|/[ \t]?\d))"
    r"(?![ \t]{0,2}(?:(?:-|\u2013|\u2014|\.{2,3}|to\b)[ \t]{0,2}\d|or\b|±))"
)
_NAMES = {
    "learning_rate": r"(?:\blearning[ _-]?rate|\blr)\b(?:[ \t]{0,2}\((?:lr|η|eta)\))?",
    "clip_threshold": (
        r"\b(?:gradient[ _-]?|grad[ _-]?)?clip(?:ping)?(?:[ _-]?(?:threshold|norm|value|at))?\b"
    ),
    "ewc_strength": r"\bewc(?:\+\+)?[ _-]?(?:strength|lambda|λ|weight|penalty)\b",
    "steps": (
        r"(?:\b(?:gradient|inner|update|local)[ _-]?steps|\bsteps[ _-]?per[ _-]?(?:batch|update)"
        r"|(?m:^|[,;(|])[ \t*_-]{0,8}+(?:number[ _]of[ _])?steps)\b"
    ),
    "confidence": r"\bconfidence\b",
}
_PATTERNS = {
    parameter: re.compile(name + _FILLER + _NUMBER + _END, re.IGNORECASE)
    for parameter, name in _NAMES.items()
}
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}")
_THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}")


def parse_hints(text: object) -> Hints:
    """The hints that a text gives; empty ones for a text without, or for anything else.

    Never raises. Values are finite, and positive (``ewc_strength``: not negative); whether they
    are within bounds is for `apply_hints` to say. The first clear value of a parameter counts.
    """
    if not isinstance(text, str):
        return Hints()
    plain = _plain(text[:MAX_CHARACTERS])
    found = {parameter: _find(parameter, plain) for parameter in _PATTERNS}
    confidence = found.pop("confidence")
    steps = found.pop("steps")
    given = [name for name, value in found.items() if value is not None]
    given += ["steps"] if steps is not None else []
    return Hints(
        **found,  # type: ignore[arg-type]
        steps=None if steps is None else int(steps),
        confidence=confidence if confidence is not None and given else 0.0,
        reasons=tuple(f"{name}: read from text" for name in given),
    )


def _plain(text: str) -> str:
    """One notation for numbers: superscripts become ``^n``, full-width digits and minus ASCII."""
    powers = _SUPERSCRIPT.sub(lambda m: "^" + unicodedata.normalize("NFKC", m[0]), text)
    return unicodedata.normalize("NFKC", powers)[:MAX_CHARACTERS].replace("\N{MINUS SIGN}", "-")


def _find(parameter: str, text: str) -> float | None:
    for match in _PATTERNS[parameter].finditer(text):
        value = _value(match["mantissa"], match["exponent"])
        if value is not None and _sensible(parameter, value):
            return value
    return None


def _value(mantissa: str, exponent: str | None) -> float | None:
    if _THOUSANDS.fullmatch(mantissa):  # "1,500": a decimal comma, or a thousand and a half?
        return None
    value = float(mantissa.replace(",", ".") + (f"e{exponent}" if exponent else ""))
    return value if math.isfinite(value) else None


def _sensible(parameter: str, value: float) -> bool:
    if parameter == "confidence":
        return value <= 1.0
    if parameter == "steps":
        return value >= 1 and value.is_integer()
    return value > 0 or parameter == "ewc_strength"
