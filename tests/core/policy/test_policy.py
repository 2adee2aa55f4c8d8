"""What the policies propose."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.demand.demand import Demand
from autoscaler.core.forecast import Forecast, ForecastMemory, forecast, learn
from autoscaler.core.policy import POLICIES, PolicyInput
from autoscaler.core.policy.backlog import pressing_replicas
from autoscaler.core.policy.economic import replicas_worth_their_cost
from autoscaler.core.policy.replica_value import (
    ReplicaValues,
    price_of_unmet_work,
    steps_ahead,
)
from autoscaler.core.supply.supply import Supply

COLD_START_S = 180.0


def demand(
    replicas: float | None, *, waiting: float = 0.0, backlog_replica_s: float | None = None
) -> Demand:
    return Demand(
        replicas=replicas,
        offered_replicas=replicas,
        waiting_requests=None if replicas is None else waiting,
        running_requests=None if replicas is None else 32.0 * replicas,
        kv_usage_ratio=None,
        backlog_replica_s=backlog_replica_s,
        basis="OfferedLoad",
        message="as the test says",
    )


def ahead(*series: float, cold_start_s: float = COLD_START_S) -> Forecast:
    memory = ForecastMemory()
    for tick, value in enumerate(series):
        learn(memory, at=5.0 * tick, offered_replicas=value)
    made = forecast(memory, at=5.0 * len(series), cold_start_s=cold_start_s)
    assert made is not None
    return made


def flat(mean: float, *, ticks: int = 400, noise: float = 0.02, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [max(0.0, mean * (1 + rng.gauss(0.0, noise))) for _ in range(ticks)]


def given_to(
    policy_demand: Demand,
    made: Forecast | None,
    *,
    ready: int,
    starting: tuple[float, ...] = (),
    **changes,
) -> PolicyInput:
    given = PolicyInput(
        at=2000.0,
        demand=policy_demand,
        forecast=made,
        offered_replicas=None,
        supply=Supply(ready=ready, starting_remaining_s=starting),
        cold_start_s=COLD_START_S,
        floor=1,
        replicas_max=40,
        attainment_ratio=0.99,
        tick_s=5.0,
    )
    return given._replace(**changes)


# --- every policy ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLICIES)
class TestEveryPolicy:
    def test_unknown_demand_is_no_proposal(self, name):
        proposal = POLICIES[name](given_to(demand(None), None, ready=3))
        assert proposal.replicas is None
        assert proposal.reason == "DemandUnknown"

    @pytest.mark.parametrize("made", [None, ahead(*flat(0.0))])
    def test_never_below_the_floor(self, name, made):
        proposal = POLICIES[name](given_to(demand(0.0), made, ready=3, floor=3))
        assert proposal.replicas == 3

    def test_reasons_are_one_word(self, name):
        made = ahead(*flat(3.0))
        for found in (
            POLICIES[name](given_to(demand(3.0), made, ready=4)),
            POLICIES[name](given_to(demand(3.0), None, ready=4)),
            POLICIES[name](given_to(demand(9.0, waiting=50.0), made, ready=4)),
            POLICIES[name](given_to(demand(0.0), made, ready=4, floor=30)),
        ):
            assert re.fullmatch(r"[A-Z][A-Za-z]+", found.reason)
            assert found.policy in POLICIES
            assert found.message

    @given(
        mean=st.floats(0.0, 30.0),
        more=st.floats(0.0, 10.0),
        waiting=st.sampled_from([0.0, 1.0, 400.0]),
        ready=st.integers(0, 40),
        starting=st.lists(st.floats(0.0, 400.0), max_size=4),
        historic=st.booleans(),
        backlog_s=st.one_of(st.none(), st.floats(0.0, 1e4)),
        remembered=st.booleans(),
    )
    def test_more_demand_never_proposes_fewer(
        self, name, mean, more, waiting, ready, starting, historic, backlog_s, remembered
    ):
        def asked(replicas):
            made = HISTORY if historic else None
            backlog = None if backlog_s is None else backlog_s * (1.0 + replicas)
            given = given_to(
                demand(replicas, waiting=waiting, backlog_replica_s=backlog),
                made,
                ready=ready,
                starting=tuple(sorted(starting)),
                offered_replicas=replicas if remembered else None,
            )
            return POLICIES[name](given)

        calm, busy = asked(mean), asked(mean + more)
        assert busy.replicas >= calm.replicas


HISTORY = ahead(*flat(4.0, noise=0.2))


# --- reactive --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "replicas"),
    [(0.0, 1), (0.5, 1), (0.84, 2), (2.5, 3), (2.51, 4), (10.0, 12)],
)
def test_reactive_is_demand_and_a_fifth_more(asked, replicas):
    assert POLICIES["reactive"](given_to(demand(asked), None, ready=5)).replicas == replicas


# --- economic --------------------------------------------------------------------------------


def test_without_history_it_is_reactive_and_never_goes_down():
    proposal = POLICIES["economic"](given_to(demand(1.0), None, ready=4, starting=(20.0,)))
    assert proposal.replicas == 5
    assert proposal.reason == "NoHistory"
    assert "no history" in proposal.message
    proposal = POLICIES["economic"](given_to(demand(8.0), None, ready=4))
    assert proposal.replicas == 10
    assert proposal.policy == "reactive", "whose number it is"


def test_a_steady_demand_gets_what_it_needs_and_little_more():
    for mean in (0.5, 2.5, 7.5, 15.5):
        proposal = POLICIES["economic"](given_to(demand(mean), ahead(*flat(mean)), ready=30))
        assert math.ceil(mean) <= proposal.replicas <= math.ceil(mean) + 1
        assert proposal.reason == "WorthItsCost"


def test_the_start_cost_is_hysteresis():
    """A replica that is there is kept where a new one would not be started."""
    series = flat(3.0, noise=0.12, ticks=900)
    made = ahead(*series)
    lowest = POLICIES["economic"](given_to(demand(3.0), made, ready=1)).replicas
    highest = POLICIES["economic"](given_to(demand(3.0), made, ready=30)).replicas
    assert lowest <= highest
    assert (
        any(
            POLICIES["economic"](given_to(demand(3.0), made, ready=ready)).replicas == ready
            for ready in range(lowest + 1, highest + 1)
        )
        or lowest == highest
    )


def test_a_higher_objective_buys_more():
    made = ahead(*flat(6.0, noise=0.2))
    bought = [
        POLICIES["economic"](given_to(demand(6.0), made, ready=6, attainment_ratio=ratio)).replicas
        for ratio in (0.5, 0.9, 0.99, 0.999)
    ]
    assert bought == sorted(bought)
    assert bought[0] < bought[-1]


def test_while_requests_wait_it_proposes_what_the_demand_asks():
    made = ahead(*flat(2.0))
    calm = POLICIES["economic"](given_to(demand(5.2), made, ready=3))
    assert calm.replicas < 6
    waiting = POLICIES["economic"](given_to(demand(5.2, waiting=9.0), made, ready=3))
    assert waiting.replicas == 6
    assert waiting.reason == "RequestsWait"


def test_the_maximum_bounds_what_is_looked_at():
    made = ahead(*flat(20.0))
    assert POLICIES["economic"](given_to(demand(20.0), made, ready=3, replicas_max=8)).replicas == 8


def test_starting_replicas_are_counted_on_before_new_ones_are():
    made = ahead(*flat(6.0))
    without = POLICIES["economic"](given_to(demand(6.0), made, ready=4)).replicas
    awaited = POLICIES["economic"](
        given_to(demand(6.0), made, ready=4, starting=(0.0, 40.0, 90.0))
    ).replicas
    assert without == awaited == 7


def test_a_start_that_is_no_longer_worth_its_rest_is_called_off():
    made = ahead(*flat(2.0, noise=0.01))
    proposal = POLICIES["economic"](
        given_to(demand(2.0), made, ready=2, starting=(150.0, 170.0, 180.0))
    )
    assert proposal.replicas == 2


def test_it_says_what_the_highest_replica_kept_is_worth_and_what_it_costs():
    made = ahead(*flat(4.5, noise=0.1))
    proposal = POLICIES["economic"](given_to(demand(4.5), made, ready=3))
    found = re.match(
        r"replica (\d+) is worth ([\d.]+) replica-minutes and costs ([\d.]+);", proposal.message
    )
    assert found, proposal.message
    assert int(found[1]) == proposal.replicas
    worth, cost = float(found[2]), float(found[3])
    assert worth > cost, "or it would not be kept"
    assert cost == pytest.approx(3.0 + 10.0), "three minutes of start, then ten of the horizon"


def test_with_nothing_worth_its_cost_it_says_so():
    made = ahead(*flat(0.0))
    proposal = POLICIES["economic"](given_to(demand(0.0), made, ready=1, attainment_ratio=0.5))
    assert proposal.reason == "AtFloor"
    assert "no replica is worth its cost" in proposal.message


def test_of_a_floor_beyond_all_worth_it_says_that_it_is_kept_as_such():
    made = ahead(*flat(2.0))
    proposal = POLICIES["economic"](given_to(demand(2.0), made, ready=8, floor=8))
    assert (proposal.replicas, proposal.reason) == (8, "AtFloor")
    assert proposal.message.startswith("replica 8 is kept as the floor's, and not worth its cost;")


@pytest.mark.parametrize("last", [None, 1, 3, 9, 40])
def test_where_the_search_begins_changes_nothing(last):
    made = ahead(*flat(6.0))
    first = POLICIES["economic"](given_to(demand(6.0), made, ready=9, starting=(60.0,)))
    given = given_to(demand(6.0), made, ready=9, starting=(60.0,), likely=last)
    assert POLICIES["economic"](given) == first


@pytest.mark.parametrize("seed", range(6))
def test_halving_finds_what_counting_from_below_finds(seed):
    """Hand out replicas one by one, stop at the first no: as the rule is written."""
    rng = random.Random(seed)
    mean = rng.choice((0.3, 2.0, 6.0, 25.0))
    series = [mean * (1.5 + math.sin(t / 40)) * rng.uniform(0.7, 1.3) for t in range(500)]
    made = ahead(*series)
    steps = steps_ahead(cold_start_s=COLD_START_S, tick_s=5.0)
    for _ in range(40):
        ready, highest = rng.randint(0, 60), rng.randint(1, 80)
        starting = tuple(sorted(rng.uniform(0.0, 250.0) for _ in range(rng.randint(0, 4))))
        supply = Supply(ready=ready, starting_remaining_s=starting)
        lambda_0 = price_of_unmet_work(rng.choice((0.9, 0.99, 0.999)))
        values = ReplicaValues(
            made, steps=steps, price_ratio=lambda_0, likely=rng.randint(1, highest)
        )
        count = 0
        while count < highest:
            if count < ready:
                worthy = values.stays(count + 1)
            elif count < ready + len(starting):
                worthy = values.arrives(count + 1, starting[count - ready])
            else:
                worthy = values.starts(count + 1)
            if not worthy:
                break
            count += 1
        other = ReplicaValues(made, steps=steps, price_ratio=lambda_0, likely=supply.total)
        for floor, likely in (
            (0, supply.total),
            (1, rng.randint(1, 80)),
            (rng.randint(2, 9), count),
        ):
            found = replicas_worth_their_cost(
                other, supply=supply, floor=floor, replicas_max=highest, likely=max(1, likely)
            )
            assert found == max(count, min(floor - 1, highest))


# --- what waits ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "offered", "backlog_replica_s", "pressing"),
    [
        pytest.param(0.0, 3.0, 0.0, None, id="nothing waits"),
        pytest.param(9.0, None, 40.0, 12.0, id="nothing is remembered: the demand of the moment"),
        pytest.param(9.0, 3.0, 90.0, None, id="one spare replica clears it in 90 s of 180"),
        pytest.param(9.0, 3.0, 190.0, 7.0, id="it would still be there when another is ready"),
        pytest.param(9.0, 3.0, None, 7.0, id="nobody knows how long it takes to serve"),
        pytest.param(9.0, 4.0, 0.1, 9.0, id="no spare replica: it never clears"),
        pytest.param(9.0, 8.0, 500.0, 12.0, id="twice the load is more than the moment asks"),
    ],
)
def test_only_a_queue_that_outlasts_a_cold_start_presses(
    waiting, offered, backlog_replica_s, pressing
):
    asked = demand(12.0, waiting=waiting, backlog_replica_s=backlog_replica_s)
    given = given_to(asked, None, ready=4, offered_replicas=offered)
    assert pressing_replicas(given) == pressing


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("made", [None, ahead(*flat(2.0, noise=0.1))])
def test_what_a_replica_carries_less_is_made_up_by_more_of_them(name, made):
    """Demand 2 on replicas that carry a quarter is demand 8 on replicas that carry all."""

    def asked(carried_ratio):
        given = given_to(demand(2.0), made, ready=1, offered_replicas=2.0)
        return POLICIES[name](given._replace(carried_ratio=carried_ratio)).replicas

    counts = [asked(ratio) for ratio in (1.0, 0.7, 0.5, 0.25)]
    assert counts == sorted(counts)
    assert counts[-1] >= 8


def test_a_queue_is_harmless_only_for_what_replicas_were_seen_to_carry():
    asked = demand(1.0, waiting=900.0, backlog_replica_s=14.0)
    given = given_to(asked, None, ready=2, offered_replicas=0.3)
    assert pressing_replicas(given) is None
    assert pressing_replicas(given._replace(carried_ratio=0.1)) == pytest.approx(7.0)


@pytest.mark.parametrize("name", POLICIES)
def test_a_burst_of_seconds_buys_no_fleet(name):
    """The burst is 12 replicas' worth on this tick and 1 over the last step; four clear it at once."""
    burst = demand(12.0, waiting=9.0, backlog_replica_s=30.0)
    made = ahead(*flat(1.0)) if name == "economic" else None
    proposal = POLICIES[name](given_to(burst, made, ready=4, offered_replicas=1.0))
    assert proposal.replicas is not None
    assert proposal.replicas <= 4


def test_every_policy_file_is_registered():
    from pathlib import Path

    from autoscaler.core import policy

    files = {path.stem for path in Path(policy.__file__).parent.glob("*.py")}
    assert files - {"__init__", "backlog", "contract", "replica_value"} == set(POLICIES)
