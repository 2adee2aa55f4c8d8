"""Shares and budgets of one model, look by look: what is a request, and what must never look like one."""

from __future__ import annotations

import pytest

from autoscaler.core.attainment.attainment import AttainmentMemory, measure_attainment
from autoscaler.core.contract.codec import from_builtins, to_builtins
from autoscaler.core.contract.decision import Attainment, ErrorBudget
from autoscaler.core.contract.spec import Objective
from tests.core.attainment.pages import BEGIN_AT, Page, replicas

OBJECTIVE = Objective(ttft_s=1.0, tpot_s=0.1, attainment_ratio=0.9)
DAY_S = 86_400.0


class Watch:
    """Looks every five seconds, unless told otherwise."""

    def __init__(self, objective: Objective = OBJECTIVE, *, at: float = BEGIN_AT) -> None:
        self.memory = AttainmentMemory()
        self.objective = objective
        self.at = at

    def look(self, *, after_s: float = 5.0, lost: float = 0.0, **pages: Page) -> Attainment | None:
        self.at += after_s
        return measure_attainment(
            self.memory,
            at=self.at,
            replicas=replicas(self.at, pages),
            objective=self.objective,
            lost=lost,
        )


def page(
    in_time: float, late: float, *, paced: float | None = None, slow: float = 0.0, **more: object
) -> Page:
    """So many first tokens within 1 s, and over it; so many paces, and over 0.1 s."""
    paced = in_time + late if paced is None else paced
    return Page(
        ttft=(0, in_time, in_time, in_time + late),
        tpot=(0, paced - slow, paced),
        finished=more.pop("finished", paced),  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


def shares(seen: Attainment | None) -> tuple[float | None, float | None, float | None]:
    """TTFT, TPOT, both."""
    assert seen is not None
    return tuple(each and each.ratio for each in (seen.ttft, seen.tpot, seen.both))  # type: ignore[return-value]


def requests(seen: Attainment | None) -> float:
    assert seen is not None
    return seen.ttft.requests if seen.ttft else 0.0


def test_what_came_between_two_looks_is_told_by_where_it_lies():
    watch = Watch()
    assert shares(watch.look(a=page(100, 100))) == (None, None, None)  # when that was, nobody knows
    seen = watch.look(a=page(109, 101, slow=1))
    assert shares(seen) == (0.9, 0.9, pytest.approx(0.8))
    assert seen is not None
    assert seen.ttft == seen.ttft._replace(requests=10, low_ratio=0.9, high_ratio=0.9)
    # One may have missed both.
    assert seen.both == seen.both._replace(
        low_ratio=pytest.approx(0.8), high_ratio=pytest.approx(0.9)
    )


def test_between_two_bounds_requests_are_taken_to_lie_evenly():
    watch = Watch(Objective(ttft_s=2.0, tpot_s=0.1))
    watch.look(a=Page(ttft=(0, 0, 0, 0), tpot=(0, 0, 0)))
    seen = watch.look(a=Page(ttft=(0, 80, 95, 100), tpot=(0, 100, 100)))
    assert seen is not None
    assert seen.ttft is not None
    assert seen.ttft.ratio == pytest.approx(0.9)  # 80, and two thirds of 15: 1.0 to 2.5
    assert (seen.ttft.low_ratio, seen.ttft.high_ratio) == (0.8, 0.95)
    assert seen.ttft_bounds_s == (1.0, 2.5)
    assert seen.tpot_bounds_s is None
    assert seen.both is not None
    assert (seen.both.low_ratio, seen.both.high_ratio) == (0.8, 0.95)


def test_over_the_last_bound_nothing_is_taken_to_be_within():
    watch = Watch(Objective(ttft_s=5.0, tpot_s=0.1))
    watch.look(a=Page(ttft=(0, 0, 0, 0), tpot=(0, 0, 0)))
    seen = watch.look(a=Page(ttft=(0, 80, 90, 100), tpot=(0, 100, 100)))
    assert seen is not None
    assert seen.ttft is not None
    assert (seen.ttft.ratio, seen.ttft.low_ratio, seen.ttft.high_ratio) == (0.9, 0.9, 1.0)
    assert seen.ttft_bounds_s == (2.5, float("inf"))


def test_a_process_that_began_anew_counts_from_zero():
    watch = Watch()
    watch.look(a=page(100, 0))
    seen = watch.look(a=page(6, 4))
    assert (requests(seen), shares(seen)[0]) == (10, 0.6)


def test_a_process_that_began_anew_and_counts_more_of_one_thing_than_before_did_so():
    """More late ones than in its whole life before, fewer in time: the whole page is new."""
    watch = Watch()
    watch.look(a=page(100, 0))
    seen = watch.look(a=page(10, 110))
    assert (requests(seen), shares(seen)[0]) == (120, pytest.approx(10 / 120))


def test_what_a_replica_counted_while_it_was_not_read_is_taken_in_when_it_is_back():
    watch = Watch()
    watch.look(a=page(100, 0), b=page(50, 0))
    for _ in range(3):
        seen = watch.look(a=page(110, 0), b=Page())
        assert requests(seen) == 10
    seen = watch.look(a=page(110, 0), b=page(55, 5))
    assert (requests(seen), shares(seen)[0]) == (20, 0.75)


def test_a_replica_that_was_watched_from_before_it_served_began_at_zero():
    watch = Watch()
    watch.look(a=page(100, 0))
    watch.look(a=page(100, 0), b=Page(born_s=8.0, ready=False))
    seen = watch.look(a=page(100, 0), b=page(4, 1, born_s=8.0))
    assert (requests(seen), shares(seen)[0]) == (5, 0.8)


def test_a_replica_that_was_there_before_us_says_nothing_of_before():
    watch = Watch()
    watch.look(a=page(100, 0))
    assert requests(watch.look(a=page(100, 0), b=page(1000, 1000))) == 0
    assert requests(watch.look(a=page(100, 0), b=page(1003, 1001))) == 4


def test_one_that_vanishes_takes_its_counts_along_and_one_of_its_name_is_another():
    watch = Watch()
    watch.look(a=page(100, 0), b=page(500, 0))
    assert requests(watch.look(a=page(101, 0))) == 1
    seen = watch.look(a=page(101, 0), b=page(3, 1, born_s=11.0))  # created since
    assert (requests(seen), shares(seen)[0]) == (5, 0.8)


def test_what_was_lost_or_aborted_was_missed():
    watch = Watch()
    watch.look(a=page(100, 0, aborted=0))
    # Ten ended, two of them aborted before their first token; one more went with its replica.
    seen = watch.look(a=page(108, 0, finished=110, aborted=2), lost=1.0)
    assert shares(seen) == (1.0, 1.0, pytest.approx(8 / 11))
    assert seen is not None
    assert seen.budgets[0] == ErrorBudget(
        span_s=3600,
        requests=11.0,
        missed_requests=3.0,
        burn_ratio=pytest.approx(3 / 11 / 0.1),
        left_ratio=pytest.approx(1 - 3 / 11 / 0.1),
    )


def test_other_bounds_than_at_the_last_sample_tell_no_change():
    """An image with other buckets behind the same name, its counters as high as the old one's."""
    watch = Watch()
    watch.look(a=page(100, 0))
    other = Page(ttft=(0, 120, 130), ttft_bounds=(0.5, 2.0), tpot=(0, 100, 100), finished=100)
    assert requests(watch.look(a=other)) == 0
    later = Page(ttft=(0, 124, 135), ttft_bounds=(0.5, 2.0), tpot=(0, 105, 105), finished=105)
    seen = watch.look(a=later)
    assert requests(seen) == 5
    assert seen is not None
    assert seen.ttft_bounds_s == (0.5, 2.0)


def test_two_images_of_one_model_add_up():
    watch = Watch()
    new = {"ttft_bounds": (0.25, 1.0), "tpot_bounds": (0.1,)}
    watch.look(a=page(0, 0), b=Page(ttft=(0, 0, 0), tpot=(0, 0), finished=0, **new))
    seen = watch.look(a=page(9, 1), b=Page(ttft=(0, 7, 10), tpot=(10, 10), finished=10, **new))
    assert (requests(seen), shares(seen)[0]) == (20, 0.8)


@pytest.mark.parametrize("new", ["a", "b", "c", "ab", "ac", "bc", "abc", ""])
@pytest.mark.parametrize("silent", ["", "a", "b", "d"])
def test_it_does_not_matter_which_replicas_are_of_which_image_nor_who_is_silent(new, silent):
    """Rows of one image may be one stretch, or have others between them."""
    watch = Watch()
    bounds = {"ttft_bounds": (0.25, 1.0), "tpot_bounds": (0.1,)}

    def look(times: int) -> Attainment | None:
        told = {
            name: Page(ttft=(0, 7 * times, 10 * times), tpot=(10 * times, 10 * times), **bounds)
            if name in new
            else page(7 * times, 3 * times)
            for name in "abcd"
        }
        return watch.look(**(told | dict.fromkeys(silent, Page())))

    look(1)
    seen = look(2)
    assert (requests(seen), shares(seen)[:2]) == (10 * (4 - len(silent)), (0.7, 1.0))


def test_gaps_between_tokens_stand_for_the_pace_of_the_requests_that_ended():
    watch = Watch()
    ttft = {"ttft": (0, 0, 0, 0)}
    watch.look(a=Page(**ttft, gaps=(0, 0, 0), finished=0, aborted=0))
    seen = watch.look(a=Page(ttft=(10, 10, 10, 10), gaps=(500, 900, 1000), finished=10, aborted=0))
    assert seen is not None
    assert seen.tpot is not None
    assert (seen.tpot.requests, seen.tpot.ratio) == (10.0, pytest.approx(0.9))
    assert seen.by_gaps


def test_an_engine_that_learns_to_tell_the_pace_of_requests_tells_no_change_then():
    """The same bounds, other counts: what were gaps are not requests."""
    watch = Watch()
    watch.look(a=Page(ttft=(1, 1, 1, 1), gaps=(0, 10, 10), finished=10, aborted=0))
    seen = watch.look(a=Page(ttft=(2, 2, 2, 2), tpot=(0, 900, 900), finished=11, aborted=0))
    assert shares(seen)[1] is None


def test_nobody_tells_and_nothing_is_made_up():
    watch = Watch()
    watch.look(a=Page(finished=10))
    assert watch.look(a=Page(finished=20)) is None


def test_of_first_tokens_alone_both_are_unknown():
    watch = Watch()
    watch.look(a=Page(ttft=(0, 0, 0, 0), finished=0))
    seen = watch.look(a=Page(ttft=(0, 9, 9, 10), finished=10))
    assert shares(seen) == (0.9, None, None)
    assert seen is not None
    assert seen.budgets[0].burn_ratio is None


def test_another_objective_begins_the_account_anew():
    watch = Watch()
    watch.look(a=page(100, 0))
    watch.look(a=page(100, 50))
    watch.objective = Objective(ttft_s=2.5, tpot_s=0.1)
    assert requests(watch.look(a=page(100, 60))) == 0
    assert requests(watch.look(a=page(105, 60))) == 5


def test_misses_are_added_up_within_a_minute_and_to_no_more_than_its_requests():
    """Ten that missed both: of the same minute they are ten, of two minutes (ends and firsts) twenty."""
    watch = Watch(at=BEGIN_AT - BEGIN_AT % 60.0)
    watch.look(a=page(0, 0))
    seen = watch.look(a=page(0, 10, slow=10))
    assert seen is not None
    assert seen.budgets[0].missed_requests == 10.0
    seen = watch.look(after_s=60.0, a=page(0, 20, paced=10, slow=10))
    seen = watch.look(after_s=60.0, a=page(0, 20, paced=20, slow=20))
    assert seen is not None
    assert (seen.budgets[0].requests, seen.budgets[0].missed_requests) == (20.0, 20.0)
    seen = watch.look(after_s=60.0, a=page(80, 20, slow=20))
    assert seen is not None
    assert (seen.budgets[0].requests, seen.budgets[0].missed_requests) == (100.0, 30.0)


def test_windows_forget_what_is_older_than_they_are():
    watch = Watch()
    watch.look(a=page(0, 0))
    watch.look(a=page(0, 100))
    for hour in range(1, 3):
        seen = watch.look(after_s=3_900.0, a=page(1_000 * hour, 100))
        assert seen is not None
        assert [budget.requests for budget in seen.budgets] == [
            1_000,
            *[100 + 1_000 * hour] * 2,
        ]
        assert seen.budgets[0].left_ratio == 1.0
        assert seen.budgets[1].left_ratio == pytest.approx(1 - 100 / (100 + 1_000 * hour) / 0.1)
    seen = watch.look(after_s=DAY_S + 7_200, a=page(3_000, 100))
    assert seen is not None
    assert [budget.requests for budget in seen.budgets] == [1_000, 1_000, 3_100]
    seen = watch.look(after_s=33 * DAY_S, a=page(3_001, 100))
    assert seen is not None
    assert [budget.requests for budget in seen.budgets] == [1, 1, 1]


def test_a_month_of_looks_takes_no_more_memory_and_a_checkpoint_tells_the_same():
    watch = Watch()
    sizes = set()
    for look in range(400):
        watch.look(after_s=7_200.0, a=page(10 * look, look))
        sizes.add(watch.memory.windows.slots.nbytes + watch.memory.windows.totals.nbytes)
    assert max(sizes) == min(sizes) < 4_096
    kept = from_builtins(to_builtins(watch.memory, AttainmentMemory), AttainmentMemory)
    again = Watch(at=watch.at)
    again.memory = kept
    assert again.look(a=page(5_000, 500)) == watch.look(a=page(5_000, 500))
