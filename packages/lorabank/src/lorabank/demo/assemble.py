"""Putting a run's parts together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lorabank.consolidation import ConsolidationReport
from lorabank.demo.protocol import Protocol
from lorabank.demo.replay import Replayed
from lorabank.demo.results import Episodes, Run, Setup, Skills, Updates
from lorabank.demo.scoring import Scored, changes, learning_curve, methods, online_effect, times
from lorabank.demo.settings import DemoSettings
from lorabank.demo.tuning import Tuned
from lorabank.engine import EngineStats
from lorabank.evaluation.bootstrap import Interval
from lorabank.protocols import StoreStats
from lorabank.stores import StoreCounts
from lorabank.types.skill import Skill
from lorabank.types.strategy import Strategy


@dataclass(frozen=True, slots=True, eq=False)
class WithBank:
    """What the part of the run that has a bank leaves behind.

    ``left``: what the stores of past and of new users still hold in the end.
    """

    past: Replayed
    new: Replayed
    stats: EngineStats
    left: tuple[StoreCounts, StoreCounts]
    consolidation: ConsolidationReport
    strategy: Strategy
    held: StoreStats
    skills: tuple[Skill, ...]


def assemble(
    protocol: Protocol,
    settings: DemoSettings,
    tuned: Tuned,
    scores: Mapping[str, Scored],
    with_bank: WithBank,
    without: Replayed,
    seconds: dict[str, float],
) -> Run:
    """All numbers of one run."""
    new = protocol.events.of_users(protocol.split.new)
    return Run(
        setup=_setup(protocol, settings, tuned, len(new)),
        methods=methods(scores),
        learning_curve=tuple(learning_curve(new, settings.batch, scores)),
        arms=with_bank.strategy.effects,
        recommendation=with_bank.strategy.recommendation,
        changes=changes(scores),
        online=online_effect(scores),
        updates=_updates(with_bank, without),
        episodes=_episodes(with_bank),
        skills=_skills(with_bank),
        seconds={**seconds, "total": sum(seconds.values())},
    )


def _setup(protocol: Protocol, settings: DemoSettings, tuned: Tuned, events_new: int) -> Setup:
    return Setup(
        seed=settings.seed,
        bank=settings.bank,
        quick=settings.quick,
        users_past=len(protocol.split.past),
        users_new=len(protocol.split.new),
        items=len(protocol.items),
        ratings=len(protocol.log.user),
        likes=int(protocol.log.liked.sum()),
        events_past=len(protocol.events) - events_new,
        events_new=events_new,
        batch=settings.batch,
        rank=settings.rank,
        learning_rate=settings.online.learning_rate,
        ewc_strength=settings.online.ewc_strength,
        context_decay=settings.decay,
        context_window=settings.window,
        blend_decay=tuned.blend.decay,
        blend_weight=tuned.blend.calibration.tau,
        blend_popularity=tuned.blend.calibration.prior_weight,
    )


def _updates(with_bank: WithBank, without: Replayed) -> Updates:
    past, new, stats = with_bank.past, with_bank.new, with_bank.stats
    return Updates(
        past=past.updates,
        new=new.updates,
        continued=past.continued,
        hinted=past.hinted + new.hinted,
        cache_hits=stats.cache_hits,
        cache_misses=stats.cache_misses,
        cache_hit_rate=stats.cache_hit_rate,
        cold_ms=times(np.concatenate([past.milliseconds("miss"), new.milliseconds("miss")])),
        warm_ms=times(np.concatenate([past.milliseconds("hit"), new.milliseconds("hit")])),
        without_bank_ms=times(without.milliseconds("disconnected")),
    )


def _episodes(with_bank: WithBank) -> Episodes:
    made, held = with_bank.past.updates + with_bank.new.updates, with_bank.held.patterns
    dead = sum(counts.dead for counts in with_bank.left)
    undelivered = sum(counts.queued for counts in with_bank.left)
    return Episodes(
        made=made,
        held=held,
        dead=dead,
        undelivered=undelivered,
        lost=made - held - dead - undelivered,
    )


def _skills(with_bank: WithBank) -> Skills:
    evidence = [g.evidence for g in with_bank.consolidation.groups if g.kept and g.evidence]
    first = evidence[0] if evidence else None
    gain = Interval(first.mean, first.lower, first.upper) if first else Interval(0.0, 0.0, 0.0)
    return Skills(
        stored=with_bank.held.skills,
        with_weights=sum(skill.prior is not None for skill in with_bank.skills),
        started_from=with_bank.stats.skills_used,
        gain=gain,
    )
