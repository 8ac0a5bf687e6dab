"""Training of everything shared, with users held out to choose by and others to prove on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from lorabank.config import ContrastiveConfig, PriorConfig
from lorabank.errors import InvalidInputError
from lorabank.population.fit import Fit
from lorabank.population.ground import Ground, make_ground
from lorabank.population.model import IDENTITY, Expert, Population
from lorabank.population.recorder import OnPopulationProgress
from lorabank.population.report import PopulationReport
from lorabank.population.rows import Rows
from lorabank.population_config import PopulationConfig
from lorabank.types.items import ItemPool
from lorabank.types.space import EmbeddingSpace


def fit_population(
    rows: Rows,
    pool: ItemPool,
    config: PopulationConfig | None = None,
    *,
    space: EmbeddingSpace,
    prior: PriorConfig | None = None,
    contrastive: ContrastiveConfig | None = None,
    groups: Mapping[str, Collection[str]] | None = None,
    seed: int = 0,
    on_progress: OnPopulationProgress | None = None,
    check: Callable[[], object] | None = None,
) -> tuple[Population, PopulationReport]:
    """Train the shared adapter, residuals, neighbours and groups; calibrate and prove experts.

    Takes seconds to minutes: call it in a worker thread. The same input and seed give the same
    population. Users are split by their keys into those that are fitted (1 - held_out), those that
    every choice and calibration is made on (held_out / 2), and those that the result is proved on.

    Args:
        rows: feedback with items of the pool (objective "contrastive"), e.g. of `collect_rows`.
        pool: the items, with the popularity that experts are served with.
        config: what to train; defaults of `PopulationConfig`.
        space: of contexts and items.
        prior: schedule of the shared adapter and of groups, and the share of users held out.
        contrastive: which rewards are likes.
        groups: id of each group -> keys of the users in it. A group's adapter starts from the
            shared one, and is kept if its held-out users are better off with it.
        seed: of everything random.
        on_progress: called after each part; whatever it raises ends the training.
        check: called between minibatches; whatever it raises ends the training.

    Returns:
        The population, with the calibrated identity alone if there are too few users for more.

    Raises:
        InvalidInputError: rows without items, of another dimension, or with items not in the pool.
    """
    settings, schedule = config or PopulationConfig(), prior or PriorConfig()
    likes = contrastive or ContrastiveConfig()
    _check_rows(rows, pool, space)
    ground = make_ground(rows, pool, settings, schedule, likes)
    reason = _too_little(ground, schedule.min_users)
    if reason:
        return _identity_alone(ground, space, likes, reason)
    fit = Fit(ground, settings, schedule, likes, seed, on_progress, check or _go_on)
    return fit.run(space, groups or {})


def _check_rows(rows: Rows, pool: ItemPool, space: EmbeddingSpace) -> None:
    if rows.items is None:
        raise InvalidInputError("rows.items", None, "feedback on items of the pool")
    if len(rows.items) and int(rows.items.max()) >= len(pool):
        raise InvalidInputError("rows.items", int(rows.items.max()), f"positions below {len(pool)}")
    if not rows.x.shape[1] == pool.dim == space.dim:
        dims = (rows.x.shape[1], pool.dim)
        raise InvalidInputError("dim of rows and pool", dims, f"the space's dimension {space.dim}")


def _go_on() -> None:
    """Never cancels."""


def _too_little(ground: Ground, min_users: int) -> str:
    """Why nothing can be trained, or nothing."""
    likers = ground.rows.users_of(ground.predicted)
    split = ground.split.within(likers)
    least = min(int(part.sum()) for part in (split.fit, split.stop, split.proof))
    if least < min_users:
        return f"too few users to train and to prove: {least} in one part, {min_users} needed"
    return ""


def _identity_alone(
    ground: Ground, space: EmbeddingSpace, contrastive: ContrastiveConfig, reason: str
) -> tuple[Population, PopulationReport]:
    calibration = contrastive.calibration
    identity = Expert(IDENTITY, None, False, calibration.tau, calibration.prior_weight)
    population = Population(space, len(ground.pool), (), None, None, (identity,), ())
    users, events = len(ground.rows.keys), int(ground.predicted.sum())
    return population, PopulationReport(users, events, (), {}, {}, {}, reason)
