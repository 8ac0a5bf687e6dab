"""Skills: groups of users with what helped them, and which skills fit a context."""

from lorabank.skills.consolidate import consolidate
from lorabank.skills.episodes import Episodes, EpisodeWriter
from lorabank.skills.grouping import EVERYONE, Group, group_users
from lorabank.skills.select import fitting_skills
from lorabank.skills.succession import inherit_priors, superseded

__all__ = [
    "EVERYONE",
    "EpisodeWriter",
    "Episodes",
    "Group",
    "consolidate",
    "fitting_skills",
    "group_users",
    "inherit_priors",
    "superseded",
]
