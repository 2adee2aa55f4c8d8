"""The fast models give the same nanosecond as the reference for every request."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from simulations.serving.fleet import ServingFleet
from simulations.serving.reference import ReferenceFleet
from tests.simulations.serving.stories import Fleet, Story, assert_equal, stories, tell


def reference(story: Story) -> Fleet:
    return ReferenceFleet(
        story.profile,
        story.requests,
        routing=story.routing,
        timeout_ns=story.timeout_ns,
        retries=story.retries,
    )


def skipping(story: Story) -> Fleet:
    return ServingFleet(
        story.profile,
        story.requests,
        routing=story.routing,
        timeout_ns=story.timeout_ns,
        retries=story.retries,
    )


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_skipping_ahead_equals_stepping(story: Story) -> None:
    assert_equal(tell(story, skipping(story)), tell(story, reference(story)))
