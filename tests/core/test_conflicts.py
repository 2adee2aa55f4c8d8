"""Somebody else sets the replicas of a target: an HPA, GitOps, a person. Who it is is said, and nobody is fought."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.commands import SetReplicas
from autoscaler.core.contract.spec import Mode, ModelSpec, Pause
from autoscaler.core.contract.state import Rival, RivalKind
from tests.builders import (
    ON_DEMAND,
    PoolNow,
    group,
    hpa,
    model,
    notice,
    on_demand,
    spot,
    written_by,
)
from tests.expect import Scenario, expect

HOLD_S = 600.0
POOL = "on-demand"


class Target:
    """One scale target as an API server has it, with who wrote it last."""

    def __init__(self, story: Scenario, *, replicas: int = 2, manager: str = "creator") -> None:
        self.story, self.replicas = story, replicas
        self.manager, self.scaled, self.generation = manager, False, 1
        self.ours = 0
        """Writes of ours."""

    def write(self, replicas: int, manager: str, *, scaled: bool = True) -> None:
        if replicas != self.replicas:
            self.generation += 1
            self.replicas, self.manager, self.scaled = replicas, manager, scaled

    def apply_image(self, manager: str = "creator") -> None:
        """What is written of the template, with the number that is there."""
        self.generation += 1
        if self.manager == manager:
            self.scaled = False

    def see(
        self, at: float, *, wants: int, rivals: tuple[Rival, ...] | None = (), lands: bool = True
    ) -> None:
        """Look once, and let our writes land, or not yet be known."""
        writer = written_by(
            self.manager, at=at - 1.0, scaled=self.scaled, generation=self.generation
        )
        now = PoolNow(rivals=rivals, writer=writer)
        self.story.look(
            at,
            group(ready=self.replicas),
            wants=wants,
            current={POOL: self.replicas},
            pools={POOL: now},
        )
        for command in self.story.outcome.commands:
            if isinstance(command, SetReplicas) and lands:
                assert command.replicas != self.replicas
                self.write(command.replicas, "us")
                self.ours += 1
                self.story.finish(at, command)


def begun(spec: ModelSpec | None = None, *, replicas: int = 2) -> Target:
    return Target(Scenario(spec or model()), replicas=replicas)


# -- an autoscaler on the target


@pytest.mark.parametrize("kind", RivalKind)
def test_a_number_that_is_pinned_is_not_written_against_an_hpa(kind: RivalKind):
    pinned = replace(model(), pause=Pause.ALL, paused_replicas=5)
    target = begun(pinned)
    for tick in range(20):
        target.write(2 + tick % 3, "kube-controller-manager")
        target.see(5.0 * tick, wants=6, rivals=(hpa("old", kind=kind),))
    assert target.ours == 0
    target.see(100.0, wants=6, rivals=())
    assert (target.ours, target.replicas) == (1, 5), "it is gone, and its number is nobody's wish"


@pytest.mark.parametrize("kind", RivalKind)
def test_what_an_hpa_scales_is_never_written(kind: RivalKind):
    target = begun()
    for tick in range(20):
        target.write(2 + tick % 3, "kube-controller-manager")
        target.see(5.0 * tick, wants=6, rivals=(hpa("old", kind=kind),))
    assert target.ours == 0
    held = f"True/{kind}"
    expect(
        target.story,
        desired=target.replicas,
        reason=str(kind),
        steps=["conflict"],
        commands=[],
        conditions={"Conflicted": held, "AbleToScale": f"False/{kind}", "Ready": "True/Decided"},
    )
    (said,) = (each for each in target.story.decision.conditions if each.type == "Conflicted")
    assert (
        f"{kind}/serving/old (since 1970-01-01T00:00:00Z) scales Deployment/serving/on-demand"
        in said.message
    )
    assert "kubectl -n serving delete" in said.message


def test_once_the_hpa_is_gone_its_last_number_is_nobodys_wish():
    target = begun()
    target.write(3, "kube-controller-manager")
    target.see(0.0, wants=6, rivals=(hpa(),))
    target.write(4, "kube-controller-manager")
    target.see(5.0, wants=6, rivals=())
    assert target.replicas == 6
    expect(target.story, conditions={"Conflicted": "False/NoConflict"})


def test_where_hpas_cannot_be_read_that_is_said_and_their_writes_count():
    target = begun()
    target.see(0.0, wants=2, rivals=None)
    expect(target.story, conditions={"Conflicted": "Unknown/RivalsUnreadable"})
    target.write(5, "kube-controller-manager")
    target.see(5.0, wants=2, rivals=None)
    expect(target.story, desired=5, conditions={"Conflicted": "True/ManualScale"})


def test_who_observes_is_in_nobodys_way():
    target = begun(model(mode=Mode.OBSERVE))
    target.see(0.0, wants=6, rivals=(hpa(),))
    expect(
        target.story,
        desired=6,
        commands=[],
        conditions={
            "Conflicted": "False/HorizontalPodAutoscaler",
            "AbleToScale": "True/ReadyForNewScale",
        },
    )


def test_a_pool_of_its_own_still_replaces_what_interruptions_take():
    """The HPA is on spot alone: what goes with a doomed node is promised on on-demand, and nothing else moves."""
    spec = model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=60.0)
    story = Scenario(spec)
    story.look(
        100.0,
        group(ready=1),
        group("spot", ready=2, node="s1"),
        wants=3,
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
        pools={"spot": PoolNow(rivals=(hpa(),))},
    )
    expect(
        story,
        pools={"on-demand": 3, "spot": 2},
        conditions={"Conflicted": "True/HorizontalPodAutoscaler"},
    )
    assert "SetReplicas on-demand 3" in story.commands
    assert not [each for each in story.commands if each.startswith("SetReplicas spot")]


def test_on_the_fallbacks_own_target_nothing_is_promised():
    spec = model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=60.0)
    story = Scenario(spec)
    story.look(
        100.0,
        group(ready=1),
        group("spot", ready=2, node="s1"),
        wants=3,
        interruptions=[notice("s1", deadline_at=220.0, noticed_at=100.0)],
        pools={"on-demand": PoolNow(rivals=(hpa(),))},
    )
    expect(story, pools={"on-demand": 1, "spot": 2})
    assert not [each for each in story.commands if each.startswith(("SetReplicas", "Annotate"))]


# -- a person's number


def test_a_persons_number_is_left_for_a_while():
    target = begun()
    target.see(0.0, wants=4)
    target.see(5.0, wants=4)
    target.write(7, "kubectl")
    target.see(10.0, wants=4)
    expect(
        target.story,
        desired=7,
        reason="ManualScale",
        steps=["conflict"],
        conditions={"Conflicted": "True/ManualScale", "AbleToScale": "False/ManualScale"},
    )
    (said,) = (each for each in target.story.decision.conditions if each.type == "Conflicted")
    assert said.message == (
        "kubectl set Deployment/serving/on-demand to 7 replicas by 1970-01-01T00:00:10Z; that is left so until "
        "1970-01-01T00:10:10Z (spec.manualScale.holdSeconds), within minReplicas and maxReplicas; what interruptions "
        "take is replaced"
    )
    target.see(10.0 + HOLD_S - 1.0, wants=4)
    assert target.replicas == 7
    target.see(10.0 + HOLD_S, wants=4)
    assert target.replicas == 4
    expect(target.story, conditions={"Conflicted": "False/NoConflict"})


def test_the_while_is_the_users():
    target = begun(replace(model(), manual_scale_hold_s=30.0))
    target.see(0.0, wants=4)
    target.write(7, "kubectl")
    target.see(10.0, wants=4)
    target.see(39.0, wants=4)
    assert target.replicas == 7
    target.see(40.0, wants=4)
    assert target.replicas == 4


@pytest.mark.parametrize(("written", "held"), [(12, 10), (0, 1), (10, 10), (1, 1)])
def test_the_bounds_hold(written: int, held: int):
    target = begun()
    target.see(0.0, wants=4)
    target.write(written, "kubectl")
    target.see(5.0, wants=4)
    target.see(10.0, wants=4)
    assert target.replicas == held


def test_the_maximum_takes_from_what_is_no_floor():
    story = Scenario(model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, maximum=4))
    mine = {name: PoolNow(writer=written_by("us")) for name in ("on-demand", "spot")}
    story.look(0.0, group(ready=1), group("spot", ready=2), wants=3, pools=mine)
    theirs = mine | {"spot": PoolNow(writer=written_by("kubectl", generation=2))}
    story.look(5.0, group(ready=1), group("spot", ready=5), wants=3, pools=theirs)
    expect(story, pools={"on-demand": 1, "spot": 3}, reason="ManualScale")


def test_what_interruptions_take_is_replaced_while_a_persons_number_is_left():
    spec = model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=60.0)
    story = Scenario(spec)
    mine = {name: PoolNow(writer=written_by("us")) for name in ("on-demand", "spot")}
    rows = [group(ready=1), group("spot", ready=2, node="s1")]
    story.look(100.0, *rows, wants=3, pools=mine)
    rows = [group(ready=2), group("spot", ready=2, node="s1")]
    theirs = mine | {"on-demand": PoolNow(writer=written_by("kubectl", generation=2))}
    story.look(105.0, *rows, wants=3, pools=theirs)
    expect(story, pools={"on-demand": 2, "spot": 2}, reason="ManualScale", commands=[])
    doomed = [notice("s1", deadline_at=230.0, noticed_at=110.0)]
    story.look(110.0, *rows, wants=3, pools=theirs, interruptions=doomed)
    # Three are to serve, and two of the four that are there by a person's word are doomed.
    expect(
        story,
        pools={"on-demand": 3, "spot": 2},
        conditions={"FallbackActive": "True/SpotInterrupted"},
    )
    assert "SetReplicas on-demand 3" in story.commands


def test_another_pool_does_not_move_for_it():
    story = Scenario(model(pools=[on_demand(price=2.0), on_demand("cheap", price=1.0)]))
    mine = {name: PoolNow(writer=written_by("us")) for name in ("on-demand", "cheap")}
    story.look(0.0, group(ready=1), group("cheap", ready=2), wants=3, pools=mine)
    theirs = mine | {"on-demand": PoolNow(writer=written_by("kubectl", generation=2))}
    story.look(5.0, group(ready=4), group("cheap", ready=2), wants=3, pools=theirs)
    expect(story, pools={"on-demand": 4, "cheap": 2}, commands=[])


# -- who made it, and what is no number


def test_who_made_the_object_is_no_rival():
    target = begun(replicas=2)
    target.see(1e6, wants=5)
    assert target.replicas == 5


def test_a_new_image_is_no_number():
    target = begun()
    target.see(0.0, wants=2)
    target.apply_image()
    target.see(5.0, wants=2)
    target.apply_image()
    target.see(10.0, wants=4)
    assert target.replicas == 4
    target.apply_image()
    target.see(15.0, wants=5)
    assert target.replicas == 5


def test_a_new_image_before_our_write_is_seen_is_no_number():
    target = begun()
    target.see(0.0, wants=4, lands=False)
    target.apply_image()
    target.story.finish_all(1.0)
    target.see(5.0, wants=4)
    expect(target.story, desired=4, conditions={"Conflicted": "False/NoConflict"})


def test_who_writes_the_number_that_we_did_is_no_rival():
    target = begun()
    target.see(0.0, wants=4, lands=False)
    target.write(4, "kubectl")
    target.see(5.0, wants=4)
    target.see(10.0, wants=5)
    assert target.replicas == 5


# -- after a restart


@pytest.mark.parametrize("remembered", [True, False])
def test_a_restart_leaves_a_persons_number(*, remembered: bool):
    target = begun()
    target.see(1000.0, wants=4)
    target.write(7, "kubectl")
    target.see(1005.0, wants=4)
    target.story.restart(remembered=remembered)
    target.see(1010.0, wants=4)
    expect(target.story, desired=7, reason="ManualScale")
    # Without memory it is known to have been written at the latest a second before it was first seen again.
    target.see(1009.0 + HOLD_S, wants=4)
    assert target.replicas == 4


def test_what_a_person_wrote_long_ago_is_over():
    story = Scenario(model())
    writer = written_by("kubectl", at=100.0)
    story.look(5000.0, group(ready=2), wants=4, pools={POOL: PoolNow(writer=writer)})
    expect(story, desired=4, commands=["SetReplicas on-demand 4"])


# -- who undoes


@pytest.mark.slow
def test_who_undoes_an_answer_gets_no_second_one():
    target = begun()
    target.see(0.0, wants=4)
    for tick in range(1, 12 * 60, 2):  # an hour
        target.write(2, "argocd-controller", scaled=False)
        target.see(5.0 * tick, wants=4)
    # Its first word was left for ten minutes and answered; the next for twenty, the one after for forty.
    assert target.ours == 3
    expect(
        target.story, desired=2, reason="OtherWriter", conditions={"Conflicted": "True/OtherWriter"}
    )
    (said,) = (each for each in target.story.decision.conditions if each.type == "Conflicted")
    assert "argocd-controller set Deployment/serving/on-demand to 2 replicas" in said.message
    assert "3 times; nothing is written there until" in said.message


def test_an_undoing_between_two_looks_is_seen():
    target = begun()
    target.see(0.0, wants=4)  # written, and undone at once
    target.write(2, "argocd-controller", scaled=False)
    target.see(5.0, wants=4)
    expect(target.story, desired=2, conditions={"Conflicted": "True/OtherWriter"})
    target.see(10.0, wants=4)
    assert (target.replicas, target.ours) == (2, 1)


def test_bounds_that_are_undone_are_not_written_again():
    target = begun(model(minimum=3), replicas=2)
    target.see(0.0, wants=3)
    for tick in range(1, 60):
        target.write(2, "argocd-controller", scaled=False)
        target.see(5.0 * tick, wants=3)
    assert target.ours == 2, "the first word, and the bounds once against it"


def test_what_stood_for_hours_was_not_undone():
    target = begun()
    target.see(0.0, wants=4)
    target.see(5.0, wants=4)
    for hours in (3, 6, 9):
        at = hours * 3600.0
        target.write(7, "kubectl")
        target.see(at, wants=4)
        expect(target.story, reason="ManualScale")
        target.see(at + HOLD_S, wants=4)
        target.see(at + HOLD_S + 5.0, wants=4)
        assert target.replicas == 4


def test_a_person_who_says_so_ends_it():
    target = begun()
    target.see(0.0, wants=4)
    target.write(7, "kubectl")
    target.see(5.0, wants=4)
    target.story.respecify(6.0, replace(target.story.spec, pause=Pause.ALL))
    target.see(10.0, wants=4)
    target.story.respecify(11.0, replace(target.story.spec, pause=Pause.NO))
    target.see(15.0, wants=4)
    assert target.replicas == 4


def test_a_number_that_was_changed_and_changed_back_between_two_looks_was_written():
    target = begun(model(maximum=9))
    target.see(0.0, wants=4)
    target.see(5.0, wants=4)
    target.write(1, "kubectl")
    target.write(4, "kubectl")
    target.see(10.0, wants=5)
    assert (target.ours, target.replicas) == (1, 4)
    expect(target.story, reason="ManualScale")


def test_a_number_of_ours_that_was_undone_and_written_again_by_another_is_his():
    target = begun(model(maximum=9))
    target.see(0.0, wants=4)
    target.see(5.0, wants=5)
    target.write(1, "kubectl")
    target.write(5, "kubectl")
    target.see(10.0, wants=6)
    assert (target.ours, target.replicas) == (2, 5)
    expect(target.story, reason="ManualScale")


@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["kubectl", "argocd-controller", "image", "nothing"]),
            st.integers(1, 9),
            st.integers(1, 9),
            st.sampled_from(["before our look", "after our write"]),
        ),
        max_size=60,
    )
)
@pytest.mark.slow
def test_once_somebody_else_has_written_nothing_is_written_for_as_long_as_a_hold(
    moves: list[tuple[str, int, int, str]],
):
    """Whatever others write and whatever is wanted; all of it is within 300 s, and a hold is 600 s."""
    target = begun(model(maximum=9))
    target.see(0.0, wants=4)
    theirs = False

    def others(who: str, replicas: int) -> bool:
        before = target.generation
        if who == "image":
            target.apply_image()
        elif who != "nothing":
            target.write(replicas, who, scaled=who == "kubectl")
            return target.generation != before
        return False

    for number, (who, replicas, wants, when) in enumerate(moves):
        if when == "before our look":
            theirs = others(who, replicas) or theirs
        ours = target.ours
        target.see(5.0 * (number + 1), wants=wants)
        assert target.ours == ours or not theirs
        if when == "after our write":
            theirs = others(who, replicas) or theirs
