"""What the logits of a population's experts are weighted sums of.

An expert's logit has at most five terms (see `lorabank.population.Expert`), and experts share most
of theirs: the same neighbours, the same output of an adapter with the same item vectors. Such a
term without its weight is a *feature*, (n, m). There are hardly more of them than experts; each is
computed once, and one product with a matrix of weights gives all logits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from lorabank.population import Expert, PopulationScorer
from lorabank.types.arrays import FloatArray, IntArray

# As a source: what the items liked last say of the next. No adapter has this name.
FOLLOWING = ""


class Product(NamedTuple):
    """``<y, e>``, or ``<y, e + v>`` with residuals.

    Attributes:
        residuals: whether v is in it.
        source: of y: an adapter's name, None for the context itself, or `FOLLOWING`.
    """

    residuals: bool
    source: str | None


Feature: TypeAlias = Literal["popularity", "bias", "neighbours"] | Product
Terms: TypeAlias = Mapping[Feature, float]


def terms_of(expert: Expert) -> Terms:
    """The weights of the features in an expert's logit; none is zero."""
    residuals = expert.residuals
    found: dict[Feature, float] = {
        "popularity": expert.prior_weight,
        "bias": expert.bias_weight if residuals else 0.0,
        "neighbours": expert.neighbour_weight,
        Product(residuals, expert.adapter): expert.tau,
        Product(residuals, FOLLOWING): expert.transition_weight,
    }
    return {feature: weight for feature, weight in found.items() if weight}


class Features:
    """The features of some experts, over the items of a pool.

    Attributes:
        order: in which they are stacked.
        sources: of products, by whether residuals are in the items' vectors.
    """

    def __init__(self, terms: Iterable[Terms], scorer: PopulationScorer) -> None:
        used = dict.fromkeys(feature for each in terms for feature in each)
        constants = {name: row for name, row in _constants(scorer).items() if name in used}
        products = [feature for feature in used if isinstance(feature, Product)]
        products.sort(key=attrgetter("residuals"))
        near = [feature for feature in used if feature == "neighbours"]
        self.order: list[Feature] = [*constants, *near, *products]
        self.sources = {
            residuals: [product.source for product in same]
            for residuals, same in groupby(products, attrgetter("residuals"))
        }
        self._constants = np.array([*constants.values()]).reshape(-1, len(scorer.pool))
        self._neighbours = scorer.population.neighbours if near else None

    def weights(self, terms: Sequence[Terms]) -> FloatArray:
        """float32 (len(terms), F): sums of features with these weights are logits."""
        rows = [[each.get(feature, 0.0) for feature in self.order] for each in terms]
        return np.array(rows, np.float32)

    def stacked(
        self,
        outputs: Mapping[str | None, FloatArray],
        vectors: Mapping[bool, FloatArray],
        recent: IntArray,
        candidates: IntArray | None,
    ) -> FloatArray:
        """float32 (F, n, m).

        Args:
            outputs: of each source, (n, dim).
            vectors: of the candidates, (m, dim), with residuals (True) and without.
            recent, candidates: see `lorabank.adaptation.mixing.Experts.score`.
        """
        constants = self._constants if candidates is None else self._constants.take(candidates, 1)
        done, width = constants.shape
        found = np.empty((len(self.order), len(recent), width), np.float32)
        found[:done] = constants[:, None]
        if self._neighbours is not None:
            found[done] = self._neighbours.log_scores(recent, candidates)
            done += 1
        for residuals, sources in self.sources.items():
            rows = np.concatenate([outputs[source] for source in sources])
            part = found[done : done + len(sources)].reshape(len(rows), width)
            np.matmul(rows, vectors[residuals].T, out=part)
            done += len(sources)
        return found


def _constants(scorer: PopulationScorer) -> dict[Feature, FloatArray]:
    """What does not depend on the user, (N,) each."""
    residuals = scorer.population.residuals
    found: dict[Feature, FloatArray] = {"popularity": scorer.pool.log_prior}
    return found if residuals is None else found | {"bias": residuals.item_bias(scorer.pool)}
