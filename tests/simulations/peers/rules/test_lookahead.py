"""The reference that knows one cold start ahead: what it asks for, and what it cannot know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulations.peers.rules.lookahead import NAME, STEP_S, Lookahead
from simulations.peers.rules.registry import BASELINES, KINDS, REFERENCES
from simulations.serving.offered_demand import offered_replicas
from tests.simulations.peers.views import setting, view

BUSY_S = 400.0


def asked(arrivals_s, *, cold_start_s=60.0, syncs=60):
    told = replace(setting(arrivals_s=arrivals_s, replicas_max=50), cold_start_s=cold_start_s)
    policy = Lookahead(told)
    need = offered_replicas(told.requests, told.profile, window_s=STEP_S)
    return [policy.initial_replicas, *(policy.sync(view()) for _ in range(syncs))], need


def test_it_asks_one_cold_start_and_a_step_before_the_need_and_holds_it_to_its_end():
    quiet = np.arange(0.0, 800.0, 50.0)
    burst = np.linspace(BUSY_S, BUSY_S + 9.9, 600)
    wanted, need = asked(np.sort(np.concatenate([quiet, burst])))
    busy = int(BUSY_S / STEP_S)
    peak = int(np.ceil(need[busy]))
    assert peak > 1
    # 60 s are six steps, and one more
    assert [at for at, replicas in enumerate(wanted) if replicas == peak] == [
        *range(busy - 7, busy + 1)
    ]
    assert wanted[busy + 1] == 1, "nobody pays for a burst that is over"


@pytest.mark.parametrize("beyond_s", [80.0, 300.0])
def test_what_lies_beyond_changes_nothing(beyond_s):
    same = np.arange(0.0, 200.0, 2.0)
    later = np.linspace(200.0 + beyond_s, 220.0 + beyond_s, 900)
    calm, _ = asked(np.concatenate([same, [900.0]]))
    storm, _ = asked(np.concatenate([same, later, [900.0]]))
    known = int((200.0 + beyond_s) / STEP_S) - 8
    assert calm[:known] == storm[:known]
    assert calm != storm


def test_it_is_a_reference_and_no_baseline():
    assert NAME in REFERENCES
    assert NAME in KINDS
    assert NAME not in BASELINES
