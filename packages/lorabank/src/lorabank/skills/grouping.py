"""Groups of users who like similar things: everyone, and clusters of their mean contexts.

Sources: spherical k-means, Dhillon and Modha 2001; its seeding, Arthur and Vassilvitskii 2007
(k-means++), with 1 - cosine as the squared distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.ranges import distinct
from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import IntArray

EVERYONE = "everyone"
_SEED = 20_010_101  # any fixed number: the same episodes give the same groups
_RESTARTS = 4
_ROUNDS = 50
# Groups of so many times the least number of users on average: an even split is seldom possible.
_USERS_PER_GROUP = 2
_QUANTILE = 0.1
# Rows that are added up before others have their turn: numpy holds the interpreter's lock for it.
_BLOCK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Users who belong together.

    Attributes:
        name: "everyone", or "group-<k>" with k = 1 for the largest.
        members: positions of its users, int64 (users,).
        centroid: unit mean of their contexts, float64 (dim,); zeros if they cancel out.
        min_similarity: cosine to the centroid that nine in ten members reach; -1 for everyone.
    """

    name: str
    members: IntArray
    centroid: NDArray[np.float64]
    min_similarity: float


def group_users(contexts: NDArray[np.float64], max_groups: int, min_users: int) -> list[Group]:
    """Everyone first, then up to ``max_groups`` clusters with at least ``min_users`` users each.

    There are as many clusters as that allows, at least two or none. Deterministic.

    Args:
        contexts: one unit vector per user (or zeros), (users, dim).
    """
    users = len(contexts)
    groups = [Group(EVERYONE, np.arange(users), _unit(contexts.mean(axis=0)), -1.0)]
    count = min(max_groups, users // (_USERS_PER_GROUP * min_users))
    if count < 2:
        return groups
    labels = _dissolve_small(contexts, _best_clusters(contexts, count), min_users)
    found = [np.flatnonzero(labels == label) for label in distinct(labels)]
    if len(found) < 2:
        return groups
    found.sort(key=lambda members: (-len(members), int(members[0])))
    numbered = unhurried(enumerate(found, start=1), 1)
    groups += [_group(contexts, members, k) for k, members in numbered]
    return groups


def _group(contexts: NDArray[np.float64], members: IntArray, number: int) -> Group:
    centroid = _unit(contexts[members].mean(axis=0))
    reach = float(np.quantile(contexts[members] @ centroid, _QUANTILE))
    return Group(f"group-{number}", members, centroid, min(max(reach, -1.0), 1.0))


def _best_clusters(contexts: NDArray[np.float64], count: int) -> IntArray:
    rng = np.random.default_rng(_SEED)
    runs = [_clusters(contexts, _seeds(contexts, count, rng)) for _ in range(_RESTARTS)]
    return max(runs, key=lambda run: run[1])[0]


def _clusters(
    contexts: NDArray[np.float64], centroids: NDArray[np.float64]
) -> tuple[IntArray, float]:
    """Labels, and the total similarity that they reach."""
    labels = np.full(len(contexts), -1)
    for _ in unhurried(range(_ROUNDS), 1):
        similarity = contexts @ centroids.T
        give_way()
        new = similarity.argmax(axis=1)
        if np.array_equal(new, labels):
            break
        labels = new
        centroids = _centroids(contexts, labels, centroids)
    return labels, float(np.sum(contexts * centroids[labels]))


def _centroids(
    contexts: NDArray[np.float64], labels: IntArray, earlier: NDArray[np.float64]
) -> NDArray[np.float64]:
    sums = np.zeros_like(earlier)
    for start in unhurried(range(0, len(labels), _BLOCK), 1):
        part = slice(start, start + _BLOCK)
        np.add.at(sums, labels[part], contexts[part])
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(norms > 0, sums / np.where(norms > 0, norms, 1.0), earlier)


def _seeds(
    contexts: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    chosen = [int(rng.integers(len(contexts)))]
    distance = 1.0 - contexts @ contexts[chosen[0]]
    while len(chosen) < count:
        give_way()
        weight = np.maximum(distance, 0.0) + 1e-12
        chosen.append(int(rng.choice(len(contexts), p=weight / weight.sum())))
        distance = np.minimum(distance, 1.0 - contexts @ contexts[chosen[-1]])
    return contexts[chosen]


def _dissolve_small(contexts: NDArray[np.float64], labels: IntArray, min_users: int) -> IntArray:
    """Members of clusters that are too small go to the nearest of the others, smallest first."""
    labels = labels.copy()
    while True:
        names, sizes = np.unique(labels, return_counts=True)
        smallest = int(sizes.argmin())
        if sizes[smallest] >= min_users or len(names) == 1:
            return labels
        rest = np.delete(names, smallest)
        centroids = np.stack([_unit(contexts[labels == name].mean(axis=0)) for name in rest])
        lost = labels == names[smallest]
        labels[lost] = rest[(contexts[lost] @ centroids.T).argmax(axis=1)]


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.linalg.norm(vector)
    return vector / norm if norm > 1e-12 else np.zeros_like(vector)
