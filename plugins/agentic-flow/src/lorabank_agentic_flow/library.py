"""Skills in the remote's skill library, for people who use agentic-flow.

The library can't delete, can't replace, and refuses a name that is there; so each entry is a
version, with its number in the name. It holds words only: neither weights nor users.
"""

from __future__ import annotations

from lorabank.errors import BankRejectedError
from lorabank.types.skill import Skill
from lorabank_agentic_flow.client import Client
from lorabank_agentic_flow.envelope import one_line

_TRIES = 1000


class Library:
    """Adds versions; remembers the last number of each name."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers: dict[str, int] = {}

    async def publish(self, skill: Skill, *, retired: bool) -> None:
        """Add the next version of a skill, or one that says that it is retired.

        Raises: what the client raises.
        """
        name = f"lorabank/{one_line(skill.namespace, 80)}/{one_line(skill.name, 80)}"
        text = f"retired: {one_line(skill.name)}" if retired else describe(skill)
        rate = 1.0 if skill.passed and not retired else 0.0
        number = self._numbers.get(name, 0)
        step = 1
        for _ in range(_TRIES):
            number += step
            try:
                await self._client.publish_skill(f"{name} v{number}", text, rate)
            except BankRejectedError as exc:
                if "UNIQUE" not in str(exc):
                    raise
                step *= 2  # versions of earlier sessions: their number is not known here
                continue
            self._numbers[name] = number
            return
        raise BankRejectedError(f"{name}: no free version")


def describe(skill: Skill) -> str:
    """One line: what the skill suggests and why."""
    evidence, hints = skill.evidence, skill.hints
    settings = [
        f"{field.replace('_', ' ')} {getattr(hints, field):g}"
        for field in ("learning_rate", "clip_threshold", "ewc_strength", "steps")
        if getattr(hints, field) is not None
    ]
    what = ", ".join(settings) or "default settings"
    weights = "" if skill.prior is None else ", with prior weights"
    return one_line(
        f"{skill.name}: {what}{weights}; gain {evidence.mean:.4f} "
        f"({evidence.lower:.4f} to {evidence.upper:.4f}) over {evidence.users} users; "
        f"{skill.objective}, {skill.space}"
    )
