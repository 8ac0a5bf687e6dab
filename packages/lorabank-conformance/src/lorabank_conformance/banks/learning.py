"""Laws of strategy learning: it finds what was planted, and nothing where nothing was."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lorabank.protocols import ReasoningBank
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.query import Query
from lorabank.types.strategy import ArmEffect, Strategy
from lorabank_conformance.banks.evidence import DEFAULTS, FACTOR, TRIALS_PER_USER, USERS, trials
from lorabank_conformance.compare import assert_ordered
from lorabank_conformance.laws import law
from lorabank_conformance.suite import Suite


class LearningLaws(Suite):
    """Strategy learning."""

    @law()
    async def test_strategy_planted(self, bank: ReasoningBank) -> None:
        """Protects new users from a bank that learns nothing: a clear effect becomes a hint.

        In 120 trials of 40 users doubling the learning rate saved 30 % of the loss; the hint is
        that, for the caller's own default, and nothing else is hinted.
        """
        await bank.store_patterns(trials(self.make, effect=0.3, seed=111))
        strategy = await self._ask(bank)
        assert strategy.hints.learning_rate == pytest.approx(FACTOR * DEFAULTS.learning_rate)
        assert strategy.hints.clip_threshold is None
        assert strategy.hints.ewc_strength is None
        assert strategy.hints.steps is None
        assert strategy.confidence > 0.9
        assert "learning rate" in strategy.recommendation.lower()

    @law()
    async def test_strategy_null(self, bank: ReasoningBank) -> None:
        """Protects users from superstition: arms that differ by chance alone are not hinted.

        Nor is an arm that does harm, in a second namespace.
        """
        make = self.make
        await bank.store_patterns(trials(make, effect=0.0, seed=112))
        self._assert_no_hints(await self._ask(bank))
        harm = [replace(pattern, namespace="harm") for pattern in trials(make, -0.3, seed=113)]
        await bank.store_patterns(harm)
        self._assert_no_hints(await self._ask(bank, "harm"))

    @law()
    async def test_strategy_empty(self, bank: ReasoningBank) -> None:
        """Protects the first user: an empty bank, or one without trials, advises nothing."""
        self._assert_no_hints(await self._ask(bank))
        await bank.store_patterns([self.make.pattern(f"p{i}", user_key=f"u{i}") for i in range(9)])
        strategy = await self._ask(bank)
        self._assert_no_hints(strategy)
        assert len(strategy.patterns) == Query(task="the default k").k

    @law()
    async def test_strategy_one_user(self, bank: ReasoningBank) -> None:
        """Protects the many from the one: a single user's trials, however many, prove nothing."""
        make = self.make
        alone = trials(make, effect=0.3, seed=114)
        await bank.store_patterns([replace(pattern, user_key="one") for pattern in alone])
        self._assert_no_hints(await self._ask(bank))

    @law()
    async def test_strategy_other_defaults(self, bank: ReasoningBank) -> None:
        """Protects users with other settings: doubling a rate says nothing about another rate."""
        await bank.store_patterns(trials(self.make, effect=0.3, seed=115))
        self._assert_no_hints(await self._ask(bank, defaults=replace(DEFAULTS, learning_rate=0.5)))

    async def _ask(
        self,
        bank: ReasoningBank,
        namespace: str = "default",
        defaults: Hyperparameters = DEFAULTS,
    ) -> Strategy:
        query = Query(namespace, self.make.axis(0), defaults=defaults)
        strategy = await bank.learn_strategy(query)
        assert_ordered(strategy.patterns)
        assert len(strategy.patterns) <= query.k
        assert 0.0 <= strategy.confidence <= 1.0
        assert 0.0 <= strategy.hints.confidence <= 1.0
        assert "nan" not in strategy.recommendation.lower()
        for effect in strategy.effects:
            _assert_sound(effect)
        return strategy

    def _assert_no_hints(self, strategy: Strategy) -> None:
        hints = strategy.hints
        values = (hints.learning_rate, hints.clip_threshold, hints.ewc_strength, hints.steps)
        assert values == (None, None, None, None)
        assert strategy.confidence == hints.confidence == 0.0


def _assert_sound(effect: ArmEffect) -> None:
    numbers = (effect.mean, effect.standard_error, effect.lower, effect.upper)
    assert all(math.isfinite(number) for number in numbers), effect
    assert effect.lower <= effect.mean <= effect.upper
    assert effect.standard_error >= 0.0
    assert 0.0 <= effect.probability <= 1.0
    assert 1 <= effect.users <= effect.trials <= USERS * TRIALS_PER_USER
