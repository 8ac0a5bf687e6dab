"""Every method of the comparison, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lorabank.evaluation.methods.base import Served
from lorabank.evaluation.methods.filters import fit_nlms, fit_ridge
from lorabank.evaluation.methods.hinted import fit_default, fit_hinted, fit_random_hints
from lorabank.evaluation.methods.history import fit_blend, fit_history, fit_likely_blend
from lorabank.evaluation.methods.linear import fit_linear
from lorabank.evaluation.methods.mixture import fit_mixture, trusted_anew
from lorabank.evaluation.methods.neighbours import (
    fit_likely_neighbours,
    fit_neighbours,
    fit_neighbours_and_popularity,
)
from lorabank.evaluation.methods.parts import (
    fit_common_neighbours_and_shared,
    fit_neighbours_and_shared,
    fit_residuals,
    fit_shared,
)
from lorabank.evaluation.methods.personal import fit_personal
from lorabank.evaluation.methods.popularity import fit_popularity, fit_recent_popularity
from lorabank.evaluation.methods.shared import beside
from lorabank.evaluation.methods.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table.

    Attributes:
        key: in the JSON.
        name: in tables.
        bank: whether it needs what was learned from many users by the bank.
        fit: on past users.
        clock: whether it needs times that mean the same for every user.
    """

    key: str
    name: str
    bank: bool
    fit: Callable[[Workshop], Served]
    clock: bool = False


EVERYTHING = "everything"
METHODS: tuple[Method, ...] = (
    Method("popularity", "popularity", False, lambda w: fit_popularity(w.ground)),
    Method(
        "recent_popularity",
        "popularity, recent",
        False,
        lambda w: fit_recent_popularity(w.ground),
        clock=True,
    ),
    Method("history", "mean of history", False, lambda w: fit_history(w.ground)),
    Method("blend", "blend, best ranking", False, lambda w: fit_blend(w.ground)),
    Method("likely_blend", "blend, most likely", False, lambda w: fit_likely_blend(w.ground)),
    Method("knn", "item-kNN", False, lambda w: fit_neighbours(w.ground, w.tables)),
    Method(
        "knn_popularity",
        "item-kNN + popularity",
        False,
        lambda w: fit_neighbours_and_popularity(w.ground, w.tables),
    ),
    Method(
        "likely_knn",
        "kNN + pop., likely",
        False,
        lambda w: fit_likely_neighbours(w.ground, w.tables),
    ),
    Method("linear", "full linear map", False, lambda w: fit_linear(w.ground)),
    Method(
        "user_sgd", "per-user SGD", False, lambda w: fit_personal(w.ground, w.identity, adam=False)
    ),
    Method(
        "user_adam", "per-user Adam", False, lambda w: fit_personal(w.ground, w.identity, adam=True)
    ),
    Method("user_nlms", "per-user NLMS", False, lambda w: fit_nlms(w.ground)),
    Method("user_ridge", "per-user ridge", False, lambda w: fit_ridge(w.ground)),
    Method(
        "user_default", "per-user, default rate", False, lambda w: fit_default(w.ground, w.identity)
    ),
    Method("hints", "hints only", True, lambda w: fit_hinted(w.ground, w.identity)),
    Method("random_hints", "random hints", True, lambda w: fit_random_hints(w.ground, w.identity)),
    Method("shared", "shared adapter", True, fit_shared),
    Method("knn_shared", "item-kNN x shared", True, fit_neighbours_and_shared),
    Method("common_knn_shared", "the same, 5 users", True, fit_common_neighbours_and_shared),
    Method("residuals", "residuals only", True, fit_residuals),
    Method(
        "skills",
        "skills only",
        True,
        lambda w: fit_mixture(w.ground, trusted_anew(w.ground, w.with_groups("similar"))),
    ),
    Method(
        "random_groups",
        "random groups",
        True,
        lambda w: fit_mixture(w.ground, trusted_anew(w.ground, w.with_groups("random"))),
    ),
    Method(
        "shuffled_bank",
        "shuffled bank",
        True,
        lambda w: fit_mixture(w.ground, trusted_anew(w.ground, beside(w.plain, w.shuffled))),
    ),
    Method(EVERYTHING, "everything", True, lambda w: fit_mixture(w.ground, w.full)),
)
