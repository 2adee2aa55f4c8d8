"""Cold starts: a distribution per phase, with a shortest start for the bounds."""

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.coldstart import COLD_STARTS, cold_start
from simulations.rng import stream


@pytest.mark.parametrize(
    ("name", "mean_s"), [("hot", 15.0), ("warm", 60.0), ("standard", 180.0), ("cold", 420.0)]
)
def test_profiles_have_the_means_they_are_named_for(name: str, mean_s: float):
    assert COLD_STARTS[name].mean_s == mean_s
    random = stream(1, "test")
    totals = []
    for _ in range(2000):
        drawn = COLD_STARTS[name].draw(random)
        totals.append(sum((drawn.node_ns, drawn.pull_ns, drawn.load_ns, drawn.warm_up_ns)) / 1e9)
        assert drawn.load_ns + drawn.warm_up_ns >= COLD_STARTS[name].shortest_s * 1e9 - 2
    assert np.mean(totals) == pytest.approx(mean_s, rel=0.02)
    assert np.std(totals) > 0.05 * mean_s


def test_seconds_are_a_cold_start_too():
    assert cold_start("75").mean_s == 75.0
    assert cold_start("0").draw(stream(1, "test")).load_ns == 0


@pytest.mark.parametrize("text", ["tepid", "", "-1", "nan", "inf", "1e9"])
def test_what_is_none_is_said(text: str):
    with pytest.raises(SettingsError, match="write hot, warm, standard, cold, or seconds"):
        cold_start(text)


def test_every_start_takes_as_much_of_the_stream():
    hot, cold = stream(1, "test"), stream(1, "test")
    COLD_STARTS["hot"].draw(hot)
    COLD_STARTS["cold"].draw(cold)
    assert hot.random() == cold.random()
