"""The "rls" solver in the update step: same protocol, no learning rate, fewer updates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.batches import Array
from tests.support.streams import new_adapter, step

from lorabank.adapter import Adapter
from lorabank.config import EngineConfig, RlsConfig, Solver, TrialConfig
from lorabank.errors import InvalidInputError
from lorabank.numerics.rls import ridge_of
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.solver import RlsState
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights

DIM, RANK = 64, 8
SPACE = EmbeddingSpace("test", DIM)


def config_of(solver: Solver = "rls", rate: float = 0.3, **rls: float) -> EngineConfig:
    defaults = Hyperparameters(learning_rate=rate)
    return EngineConfig(SPACE, RANK, defaults=defaults, solver=solver, rls=RlsConfig(**rls))


class Teacher:
    """Targets ``x + W x`` with noise, W of the adapter's rank; inputs lie close together."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        basis = np.linalg.qr(self.rng.normal(size=(DIM, DIM)))[0]
        self._spread = basis / np.arange(1.0, DIM + 1)
        self.rows = basis[:, :RANK].T
        self.W: Array = np.linalg.qr(self.rng.normal(size=(DIM, RANK)))[0] @ self.rows

    def draw(self, n: int, noise: float = 0.3) -> Feedback:
        x = self.rng.normal(size=(n, DIM)) @ self._spread.T
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = x + x @ self.W.T
        return Feedback(x, y + noise * self.rng.normal(size=y.shape) / DIM**0.5)

    def adapter(self, config: EngineConfig) -> Adapter:
        """With an A as consolidation finds it: near the rows that users' maps share."""
        A = self.rows + 0.3 * self.rng.normal(size=self.rows.shape) / DIM**0.5
        return replace(
            new_adapter(config),
            weights=Weights(A.astype(np.float32), np.zeros((DIM, RANK), np.float32)),
        )


def loss(adapter: Adapter, held_out: Feedback) -> float:
    assert held_out.target is not None
    return float(((adapter.transform(held_out.x) - held_out.target) ** 2).sum() / len(held_out))


def updates_to(target: float, config: EngineConfig, seed: int, most: int = 80) -> int:
    teacher = Teacher(seed)
    adapter, held_out = teacher.adapter(config), teacher.draw(500, noise=0.0)
    for update in range(most):
        adapter = step(adapter, teacher.draw(5), config, seed=update).adapter
        if loss(adapter, held_out) <= target * loss(new_adapter(config), held_out):
            return update + 1
    return most


def test_it_takes_fewer_updates_than_sgd_at_any_of_its_rates() -> None:
    """Updates of 5 samples to a tenth of the identity's loss, over ten teachers."""
    needed = {
        name: float(np.mean([updates_to(0.1, config, seed) for seed in range(10)]))
        for name, config in {
            "rls": config_of(),
            "0.1": config_of("sgd", 0.1),
            "0.3": config_of("sgd", 0.3),
            "1.0": config_of("sgd", 1.0),
        }.items()
    }
    best = min(needed[rate] for rate in ("0.1", "0.3", "1.0"))
    assert needed["rls"] <= 0.6 * best, needed


@pytest.mark.parametrize("cut", [[60], [1] * 60, [7, 13, 40]])
def test_one_update_or_many_give_the_closed_form_at_float32(cut: list[int]) -> None:
    teacher, config = Teacher(3), config_of(ridge=5.0)
    start = teacher.adapter(config)
    start = start.with_weights(start.A, 0.1 * np.ones((DIM, RANK)))
    whole = teacher.draw(60)
    assert whole.target is not None
    weights = np.linspace(0.2, 1.0, 60)
    whole = Feedback(3.0 * whole.x, 3.0 * whole.target, reward=weights)
    order = np.random.default_rng(len(cut)).permutation(60)
    adapter, done = start, 0
    for size in cut:
        rows = order[done : done + size]
        assert whole.target is not None
        assert whole.reward is not None
        part = Feedback(whole.x[rows], whole.target[rows], reward=whole.reward[rows])
        adapter, done = step(adapter, part, config).adapter, done + size
    assert whole.target is not None
    assert whole.reward is not None
    x, target = whole.x.astype(np.float64), whole.target.astype(np.float64)
    weight = whole.reward / (x**2).sum(axis=1)
    H = start.scale * x @ start.A.astype(np.float64).T
    ridge = ridge_of(start.A, start.scale, 5.0)
    information = (weight[:, None] * H).T @ H + ridge * np.eye(RANK)
    sums = (weight[:, None] * (target - x)).T @ H + ridge * start.B
    np.testing.assert_allclose(adapter.B, sums @ np.linalg.inv(information), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(adapter.A, start.A)
    assert adapter.rls is not None
    np.testing.assert_allclose(adapter.rls.information, information, rtol=1e-6)


def test_the_state_travels_in_bytes_and_goes_with_the_weights_it_is_about() -> None:
    teacher, config = Teacher(4), config_of(forgetting=0.98)
    adapter = step(teacher.adapter(config), teacher.draw(9), config).adapter
    copy = Adapter.from_bytes(adapter.to_bytes())
    feedback = teacher.draw(9)
    one, other = (step(a, feedback, config).adapter for a in (adapter, copy))
    assert one.to_bytes() == other.to_bytes()
    assert adapter.with_weights(adapter.A, adapter.B).rls is None
    assert step(adapter, feedback, config_of("sgd")).adapter.rls is None


def test_no_trials_run_and_a_row_of_zeros_says_nothing() -> None:
    teacher, config = Teacher(5), replace(config_of(), trials=TrialConfig(probability=1.0))
    adapter, feedback = teacher.adapter(config), teacher.draw(6)
    result = step(adapter, feedback, config, observed=True)
    assert not result.in_trial
    assert not result.clipped
    assert result.loss_after < result.loss_before
    assert feedback.target is not None
    x, target = (np.vstack([rows, np.zeros(DIM)]) for rows in (feedback.x, feedback.target))
    padded = step(adapter, Feedback(x, target), config)
    np.testing.assert_allclose(padded.adapter.B, result.adapter.B, rtol=1e-5, atol=1e-7)


def test_the_reported_norm_is_that_of_the_gradient_by_B() -> None:
    teacher, config = Teacher(6), config_of()
    adapter, feedback = teacher.adapter(config), teacher.draw(6)
    expected = step(adapter, feedback, config_of("sgd")).gradient_norm  # B = 0: dA is zero
    assert step(adapter, feedback, config).gradient_norm == pytest.approx(expected, rel=1e-4)


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    with pytest.raises(InvalidInputError, match="solver"):
        EngineConfig(SPACE, objective="contrastive", solver="rls")
    with pytest.raises(InvalidInputError, match="ridge"):
        EngineConfig(SPACE, solver="rls", defaults=Hyperparameters(ewc_strength=1.0))
    with pytest.raises(InvalidInputError, match="solver"):
        EngineConfig(SPACE, solver="adam")  # type: ignore[arg-type]
    for bad in (np.eye(2, dtype=np.float32), np.ones((2, 3)), -np.eye(2), np.full((2, 2), np.nan)):
        with pytest.raises(InvalidInputError, match="information"):
            RlsState(bad)  # type: ignore[arg-type]
    teacher, config = Teacher(7), config_of()
    adapter, feedback = teacher.adapter(config), teacher.draw(3)
    with pytest.raises(InvalidInputError, match="rls"):
        replace(adapter, rls=RlsState(np.eye(RANK + 1)))
    before = adapter.to_bytes()
    with pytest.raises(InvalidInputError, match="moderate"):
        step(adapter, Feedback(feedback.x, np.full_like(feedback.x, 3e38)), config)
    assert adapter.to_bytes() == before
