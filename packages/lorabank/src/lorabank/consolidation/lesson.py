"""What training one group needs, found in a worker thread: it looks at every row."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from lorabank.population.proof import Candidate
from lorabank.population.rows import members, split_users
from lorabank.population.tasks import Task
from lorabank.population.training import Schedule
from lorabank.turns import give_way
from lorabank.types.arrays import BoolArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Enrolment:
    """A group's users with feedback that says how good weights are, and their rows.

    Attributes:
        users: how many there are.
        least: how many there are to fit on, to stop by, or to prove on, whichever is fewest.
        fit, everyone: rows to train on, of the users to fit on and of all.
        stop, proof: rows to stop by, and to prove the result on.
    """

    users: int
    least: int
    fit: IntArray
    everyone: IntArray
    stop: IntArray
    proof: IntArray


@dataclass(frozen=True, slots=True)
class Lesson:
    """Everything that training one group needs."""

    skill_id: str
    task: Task
    enrolment: Enrolment
    parent: Candidate
    schedule: Schedule
    confidence: float


def enrol(task: Task, group: Collection[str], held_out: float) -> Enrolment:
    """The users of a group, by their keys; a share ``held_out`` of them is not fitted."""
    rows, judged = task.rows, task.judged
    split = split_users(rows.keys, held_out)
    give_way()
    split = split.within(members(rows.keys, group) & rows.users_of(judged))
    give_way()
    everyone = split.fit | split.stop | split.proof

    def judged_rows(users: BoolArray) -> IntArray:
        positions = rows.of_users(users)
        return positions[judged[positions]]

    return Enrolment(
        users=int(np.count_nonzero(everyone)),
        least=min(int(part.sum()) for part in (split.fit, split.stop, split.proof)),
        fit=rows.of_users(split.fit),
        everyone=rows.of_users(everyone),
        stop=judged_rows(split.stop),
        proof=judged_rows(split.proof),
    )
