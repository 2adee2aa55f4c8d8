"""The fast models give the same nanosecond as the reference for every request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from simulations.serving.fleet import Engine, ServingFleet
from simulations.serving.profiles import Profile
from simulations.serving.reference import ReferenceFleet
from tests.simulations.serving.hand import columns, profile
from tests.simulations.serving.stories import (
    Fleet,
    Story,
    Telling,
    assert_equal,
    stories,
    tell,
)

pytestmark = pytest.mark.slow
EXAMPLES = 400
SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]


def reference(story: Story) -> Fleet:
    return ReferenceFleet(
        story.profile,
        story.requests,
        routing=story.routing,
        timeout_ns=story.timeout_ns,
        retries=story.retries,
    )


def fast(story: Story, engine: Engine, other: Profile | None = None) -> Fleet:
    return ServingFleet(
        other or story.profile,
        story.requests,
        routing=story.routing,
        timeout_ns=story.timeout_ns,
        retries=story.retries,
        engine=engine,
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(stories())
def test_skipping_ahead_equals_stepping(story: Story) -> None:
    assert_equal(tell(story, fast(story, "python")), tell(story, reference(story)))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=SLOW_IS_FINE)
@given(stories())
def test_the_kernel_equals_stepping(story: Story) -> None:
    pytest.importorskip("numba")
    assert_equal(tell(story, fast(story, "numba")), tell(story, reference(story)))


@pytest.mark.parametrize("engine", ["python", "numba"])
def test_a_full_replica_whose_client_gives_up_lets_the_next_one_finish_at_once(
    engine: Engine,
) -> None:
    """One seat, and a queue of short requests: the kernel once slept through what a drop set free."""
    asked = profile(
        step_ns=19, token_ns=5, kv_token_ns=1, kv_blocks=4, requests_max=1, step_tokens_max=8
    )
    sent = [0, *[5] * 7, *[6] * 5, 26, 86, 146, 206, 266, *[566] * 17, 626, 926, 926, 986]
    lengths = [*[1] * 33, 4, 5, 7, 10, 9, 1]
    rows = tuple((at, 1, output) for at, output in zip(sent, lengths, strict=True))
    looks = (111, 222, 333, 833, 1333, 1833, 1873)
    story = Story(
        profile=asked,
        requests=columns(*rows),
        routing="least-outstanding",
        timeout_ns=900,
        retries=0,
        acts=((0, "add", 0), *((at, "look", 0) for at in looks)),
    )
    assert_equal(tell(story, fast(story, engine)), tell(story, reference(story)))


@pytest.mark.parametrize(
    "change",
    ["kv_token_ns", "step_ns", "token_ns", "pause_ns", "pause_decode_ns", "prefill_request_ns"],
)
def test_one_nanosecond_in_the_kernel_alone_is_noticed(change: str) -> None:
    """`c` and the others: with one more in the kernel, stories differ, and not one in a thousand."""
    pytest.importorskip("numba")

    def differs(story: Story) -> bool:
        other = replace(story.profile, **{change: getattr(story.profile, change) + 1})
        return not same(tell(story, fast(story, "numba", other)), tell(story, reference(story)))

    without_shrinking = settings(
        max_examples=100,
        deadline=None,
        suppress_health_check=SLOW_IS_FINE,
        phases=[Phase.generate],
        database=None,
    )
    find(stories(), differs, settings=without_shrinking)


def same(told: Telling, truth: Telling) -> bool:
    return np.array_equal(told.results.finished_ns, truth.results.finished_ns)
