"""The online learning rate: chosen on past users, by what a rate does to the next batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.support.made_up_ratings import made_up_data

from lorabank.config import EngineConfig
from lorabank.demo.protocol import Protocol, make_protocol
from lorabank.demo.rate import choose_rate
from lorabank.demo.settings import DemoSettings, engine_config
from lorabank.numerics.contrastive import Calibration

SETTINGS = DemoSettings(rank=4)
DATA = made_up_data()
PROTOCOL = make_protocol(DATA, SETTINGS)


def config_of(settings: DemoSettings) -> EngineConfig:
    return engine_config(settings, DATA.space, Calibration(4.0, 1.0), "tests")


def chosen(protocol: Protocol, *rates: float) -> float:
    settings = replace(SETTINGS, online_rates=rates)
    return choose_rate(protocol, settings, config_of(settings))


def test_a_rate_that_wrecks_the_weights_is_not_chosen() -> None:
    assert chosen(PROTOCOL, 0.03, 1000.0) == 0.03
    assert chosen(PROTOCOL, 1000.0, 0.03) == 0.03


def test_a_rate_that_learns_is_chosen_before_one_that_does_not() -> None:
    """Each user likes one item again and again, which is not what other users teach."""
    events = PROTOCOL.events
    faithful = replace(PROTOCOL, events=replace(events, target=events.user % len(DATA.vectors)))
    assert chosen(faithful, 1e-9, 0.3) == 0.3


def test_without_rates_to_choose_from_the_given_one_stays() -> None:
    assert chosen(PROTOCOL) == SETTINGS.online.learning_rate


def test_new_users_are_not_looked_at() -> None:
    events = PROTOCOL.events
    of_new = np.isin(events.user, PROTOCOL.split.new)
    target = np.where(of_new, (events.target + 7) % len(DATA.vectors), events.target)
    x = np.where(of_new[:, None], -events.x, events.x)
    other = replace(PROTOCOL, events=replace(events, target=target, x=x))
    rates = np.geomspace(1e-3, 1.0, 8).tolist()
    assert chosen(other, *rates) == chosen(PROTOCOL, *rates)
