"""Virtual time: in order of moment, priority and sequence, and never back."""

from simulations.agenda import Agenda, Priority


def test_order_is_moment_then_priority_then_sequence():
    agenda, done = Agenda(), []
    agenda.add(20, lambda _: done.append("late"))
    agenda.add(10, lambda _: done.append("observed"), priority=Priority.OBSERVED)
    agenda.add(10, lambda _: done.append("finished"), priority=Priority.COMMAND_FINISHED)
    agenda.add(10, lambda _: done.append("first"))
    agenda.add(10, lambda _: done.append("second"))
    agenda.run_until(15)
    assert done == ["first", "second", "finished", "observed"]
    agenda.run_until(20)
    assert done[-1] == "late"


def test_time_never_falls_and_what_is_past_due_is_due_now():
    agenda, moments = Agenda(), []
    agenda.add(10, lambda at: agenda.add(at - 5, moments.append))
    agenda.run_until(12)
    assert moments == [10]
    assert agenda.now_ns == 12
    agenda.run_until(3)
    assert agenda.now_ns == 12
