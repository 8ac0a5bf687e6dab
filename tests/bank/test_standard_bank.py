"""The standard bank over the in-memory store."""

from __future__ import annotations

import gc
from dataclasses import replace

import anyio
import numpy as np
import pytest

from lorabank.bank import StandardBank, standard
from lorabank.errors import CapabilityError, EmbeddingSpaceError, InvalidInputError
from lorabank.hints import parse_hints
from lorabank.protocols import Capability, ReasoningBank
from lorabank.strategy import EVIDENCE_LIMIT
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.pattern import Pattern
from lorabank.types.query import EVERYTHING, PatternFilter, Query
from lorabank.types.skill import ConsolidationCriteria, Evidence, Prior
from lorabank.types.space import EmbeddingSpace
from lorabank.types.weights import Weights
from lorabank_memory import MemoryStore

SPACE = EmbeddingSpace("toy", 4)
DEFAULTS = Hyperparameters(learning_rate=0.05)
NOW = 50_000.0


@pytest.fixture
async def bank(anyio_backend) -> StandardBank:
    bank = StandardBank(MemoryStore(), clock=lambda: NOW)
    await bank.bind(SPACE)
    return bank


@pytest.fixture
def episodes(make_pattern, make_trial):
    """80 episodes of 40 users; a doubled learning rate helps, and so does adapting."""
    rng = np.random.default_rng(0)
    return [
        make_pattern(
            f"p{n:03d}",
            rng.standard_normal(4),
            user_key=f"u{n % 40}",
            gain=0.2 + 0.05 * rng.standard_normal(),
            created_at=NOW - 10.0,
            trial=make_trial({("learning_rate", 2.0): 0.1 + 0.01 * rng.standard_normal()}),
        )
        for n in range(80)
    ]


def ask(**given) -> Query:
    fields = {"namespace": "shop", "context": np.ones(4), "defaults": DEFAULTS}
    return Query(**{**fields, **given})


async def test_it_is_a_reasoning_bank(bank) -> None:
    assert isinstance(bank, ReasoningBank)
    assert (bank.space, bank.generation) == (SPACE, 0)


async def test_what_is_stored_is_found(bank, episodes) -> None:
    await bank.store_patterns(episodes)
    await bank.store_pattern(episodes[0])
    where = PatternFilter(exclude_user_key="u3")
    matches = await bank.retrieve_patterns(ask(k=7, where=where))
    direct = await bank.store.search("shop", np.ones(4), 7, where)
    assert [m.pattern.id for m in matches] == [m.pattern.id for m in direct]
    assert (await bank.stats("shop")).patterns == 80


async def test_an_empty_bank_advises_nothing_in_words(bank) -> None:
    strategy = await bank.learn_strategy(ask())
    assert (strategy.hints, strategy.confidence, strategy.patterns) == (Hints(), 0.0, ())
    assert "keep them" in strategy.recommendation


async def test_a_strategy_has_numbers_text_and_patterns(bank, episodes) -> None:
    await bank.store_patterns(episodes)
    strategy = await bank.learn_strategy(ask(k=3, where=PatternFilter(objective="mse")))
    assert strategy.hints.learning_rate == pytest.approx(0.1)
    assert strategy.confidence > 0.99
    assert len(strategy.patterns) == 3
    assert parse_hints(strategy.recommendation).learning_rate == strategy.hints.learning_rate
    (effect,) = strategy.effects
    assert (effect.users, effect.trials) == (40, 80)
    assert (strategy.summary.trials, strategy.summary.users) == (80, 40)


async def test_evidence_keeps_to_the_objective_and_ignores_the_outcome_filter(
    bank, episodes
) -> None:
    await bank.store_patterns(episodes)
    other = await bank.learn_strategy(ask(where=PatternFilter(objective="contrastive")))
    assert (other.hints, other.patterns) == (Hints(), ())
    only_best = await bank.learn_strategy(ask(where=PatternFilter(min_reward=1.0)))
    assert only_best.patterns == ()
    assert only_best.effects[0].trials == 80


async def test_evidence_is_bounded_and_nearest(bank, make_pattern, make_trial) -> None:
    def at(n: int, context: list[float], effect: float):
        trial = make_trial({("steps", 2.0): effect + n % 7 / 1e3})
        return make_pattern(f"{effect}{n}", context, user_key=f"u{n % 30}", trial=trial)

    near = [at(n, [1, 1, 1, 1], 0.1) for n in range(EVIDENCE_LIMIT)]
    far = [at(n, [-1, -1, 1, 1], -0.3) for n in range(EVIDENCE_LIMIT)]
    await bank.store_patterns(near + far)
    with anyio.fail_after(10):
        strategy = await bank.learn_strategy(ask())
    assert strategy.effects[0].trials == EVIDENCE_LIMIT
    assert strategy.hints.steps == 2


async def test_consolidation_stores_what_passed(bank, episodes) -> None:
    await bank.store_patterns(episodes)
    with anyio.fail_after(30):
        found = await bank.auto_consolidate("shop", ConsolidationCriteria(max_groups=2))
    assert found.episodes == 80
    assert found.skills[0].id == "mse/everyone"
    assert found.skills_created == len(await bank.skills("shop")) >= 1
    stored = (await bank.skills("shop"))[0]
    assert stored.created_at == NOW
    assert stored.hints.learning_rate == pytest.approx(0.1)
    assert bank.generation > 0
    again = await bank.auto_consolidate("shop", ConsolidationCriteria(max_groups=2))
    assert len(await bank.skills("shop")) == again.skills_created == found.skills_created


async def test_consolidating_nothing_stores_nothing(bank, episodes) -> None:
    assert (await bank.auto_consolidate("shop", ConsolidationCriteria())).skills == ()
    await bank.store_patterns([replace(p, created_at=0.0) for p in episodes])
    found = await bank.auto_consolidate("shop", ConsolidationCriteria(look_back=100.0))
    assert (found.skills, found.episodes, bank.generation) == ((), 0, 0)


async def test_consolidation_retires_what_no_longer_passes(bank, episodes) -> None:
    await bank.store_patterns(episodes)
    criteria = ConsolidationCriteria(max_groups=0)
    await bank.auto_consolidate("shop", criteria)
    assert [s.id for s in await bank.skills("shop")] == ["mse/everyone"]
    worse = [replace(p, outcome=replace(p.outcome, gain=-0.2, success=False)) for p in episodes]
    await bank.store_patterns(worse)
    found = await bank.auto_consolidate("shop", criteria)
    assert not found.skills[0].passed
    assert await bank.skills("shop") == []


async def test_weights_survive_a_consolidation(bank, episodes) -> None:
    await bank.store_patterns(episodes)
    criteria = ConsolidationCriteria(max_groups=0)
    (everyone,) = (await bank.auto_consolidate("shop", criteria)).skills
    weights = Weights(np.ones((2, 4)), np.ones((4, 2)))
    prior = Prior(weights, 1.0, "lora", 1.0, 0.0, Evidence(0.1, 0.05, 0.2, 9, 90))
    await bank.put_skill(replace(everyone, prior=prior))
    await bank.auto_consolidate("shop", criteria)
    assert (await bank.skills("shop"))[0].prior is prior


async def test_consolidation_needs_a_space(make_pattern) -> None:
    bank = StandardBank(MemoryStore(), clock=lambda: NOW)
    await bank.store_pattern(make_pattern("a", gain=0.1, created_at=NOW))
    with pytest.raises(InvalidInputError, match="space"):
        await bank.auto_consolidate("shop", ConsolidationCriteria())


async def test_forget_removes_a_users_patterns_and_skills(bank, episodes) -> None:
    await bank.store_patterns(episodes)
    await bank.auto_consolidate("shop", ConsolidationCriteria(max_groups=2))
    skills, generation = await bank.skills("shop"), bank.generation
    apart = replace(skills[0], id="apart", user_keys=("somebody",))
    await bank.put_skill(apart)
    assert await bank.forget("shop", "u3") == 2
    assert await bank.skills("shop") == [s for s in [apart, *skills] if "u3" not in s.user_keys]
    assert bank.generation > generation
    left = await bank.store.search("shop", np.ones(4), 100, EVERYTHING)
    assert len(left) == 78
    assert "u3" not in {m.pattern.user_key for m in left}
    assert await bank.forget("shop", "u3") == 0


@pytest.mark.parametrize("nobody", ["", None])
async def test_forgetting_nobody_in_particular_does_not_forget_everyone(
    bank, episodes, nobody
) -> None:
    await bank.store_patterns(episodes)
    with pytest.raises(InvalidInputError, match="user_key"):
        await bank.forget("shop", nobody)
    assert (await bank.stats("shop")).patterns == 80


async def test_the_generation_grows_when_answers_change(bank, episodes) -> None:
    await bank.store_patterns(episodes)
    (skill, *_) = (await bank.auto_consolidate("shop", ConsolidationCriteria())).skills
    seen = [0, bank.generation]
    await bank.put_skill(skill)
    seen.append(bank.generation)
    assert await bank.delete_skill("shop", skill.id)
    seen.append(bank.generation)
    await bank.forget("shop", "u1")
    seen.append(bank.generation)
    assert seen == sorted(set(seen))


async def test_a_skill_of_another_space_is_refused_and_one_binds_a_fresh_bank(
    bank, episodes
) -> None:
    await bank.store_patterns(episodes)
    skill = (await bank.auto_consolidate("shop", ConsolidationCriteria())).skills[0]
    with pytest.raises(EmbeddingSpaceError):
        await bank.put_skill(replace(skill, space=replace(SPACE, name="other")))
    fresh = StandardBank(MemoryStore())
    await fresh.put_skill(skill)
    assert fresh.space == SPACE


class AppendOnly(MemoryStore):
    """A store that declares that it can't delete."""

    capabilities = frozenset({Capability.DURABLE})

    async def delete(self, *_):
        raise CapabilityError("append only")

    async def delete_skill(self, *_):
        raise CapabilityError("append only")


async def test_a_store_that_can_not_delete_says_so_and_still_consolidates(episodes) -> None:
    bank = StandardBank(AppendOnly(), clock=lambda: NOW)
    await bank.bind(SPACE)
    await bank.store_patterns(episodes)
    await bank.auto_consolidate("shop", ConsolidationCriteria(max_groups=0))
    worse = [replace(p, outcome=replace(p.outcome, gain=-0.2)) for p in episodes]
    await bank.store_patterns(worse)
    await bank.auto_consolidate("shop", ConsolidationCriteria(max_groups=0))
    with pytest.raises(CapabilityError):
        await bank.forget("shop", "u3")


async def test_consolidation_keeps_no_episode_as_an_object(
    bank, episodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector of cycles would walk all of them, and stop the event loop meanwhile."""
    await bank.store_patterns(episodes)
    known = {id(one) for one in gc.get_objects() if type(one) is Pattern}
    alive: list[int] = []
    consolidate = standard.consolidate

    def noting(*arguments):
        found = [one for one in gc.get_objects() if type(one) is Pattern and id(one) not in known]
        alive.append(len(found))
        return consolidate(*arguments)

    monkeypatch.setattr(standard, "consolidate", noting)
    monkeypatch.setattr(standard, "_PAGE", 16)
    report = await bank.auto_consolidate("shop", ConsolidationCriteria())
    assert report.episodes == len(episodes)
    assert alive[0] <= 2 * 16, "no more than the last pages"
