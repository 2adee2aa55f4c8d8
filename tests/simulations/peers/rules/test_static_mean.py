"""A static fleet for the mean."""

import numpy as np

from simulations.peers.rules.static_mean import StaticMean
from simulations.serving.offered_demand import offered_replicas
from tests.simulations.peers.views import setting, view
from tests.simulations.world.world_builder import PROFILE, requests


def test_the_mean_makes_the_fleet():
    columns = requests(np.linspace(0, 600, 6000).tolist(), output_tokens=300)
    mean = float(offered_replicas(columns, PROFILE).mean())
    assert 2 < mean < 10
    static = StaticMean(setting(traffic=columns))
    assert static.initial_replicas == int(np.ceil(mean))
    assert static.sync(view()) is None
