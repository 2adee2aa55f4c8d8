"""The door of the compiled kernel: the interface of `fleet.ServingFleet` over the arrays."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InvariantBroken
from simulations.serving.columns import Gauges, RequestColumns, RequestResults
from simulations.serving.gauges import FOREVER, NEVER, gauges
from simulations.serving.histograms import GAUGES, ROWS, TPOT_BOUNDS_NS, TTFT_BOUNDS_NS
from simulations.serving.kernel import router
from simulations.serving.kernel.layout import (
    CONTROL,
    DONE,
    ENTRY,
    LEAST_OUTSTANDING,
    MORE_SLOTS,
    NONE,
    PREFIX,
    REPLICA,
    ROUND_ROBIN,
    SLOT,
    UNROUTABLE,
    State,
    parameters,
)
from simulations.serving.profiles.profiles import Profile
from simulations.serving.workload import Workload, workload

ROUTINGS = {
    "round-robin": ROUND_ROBIN,
    "least-outstanding": LEAST_OUTSTANDING,
    "prefix": PREFIX,
}
FIRST_ROWS = 4
FIRST_SLOTS = 1024
FIRST_QUEUE = 1024
_LINKS = (
    *("running_head", "running_tail", "partial", "prefill_head", "queue_head", "queue_tail"),
    *("inbox_head", "idle_head", "idle_tail", "entry_free", "ended_head", "ended_tail"),
)

NEXT_ARRIVAL, QUEUE_SIZE = (
    (CONTROL.names or ()).index(name) for name in ("next_arrival", "queue_size")
)


class KernelFleet:
    """A fleet in arrays; see `ServingFleet` for what each method means."""

    def __init__(
        self,
        profile: Profile,
        requests: RequestColumns,
        *,
        routing: str,
        timeout_ns: int,
        retries: int,
    ) -> None:
        self.profile = profile
        self.requests = requests
        self.work = workload(requests, profile)
        self.results = RequestResults.pending(len(requests))
        self.now_ns = 0
        self._rows: dict[int, int] = {}
        self._spare_rows: list[int] = []
        self._used_rows = 0
        settings = parameters(
            profile, self.work, timeout_ns=timeout_ns, retries=retries, routing=ROUTINGS[routing]
        )
        self._state = _first_state(settings, self.work, self.results, retries=retries)
        self._control = np.asarray(self._state.control).view(np.int64)
        """The same memory as plain numbers: fields of a record are slow to read one by one."""
        self._run = _direct(router.run, self._state, 0)
        self._read_pages = _direct(router.read_pages, self._state, 0, 0.0, np.zeros((1, 1)))
        self._in_flight_now = _direct(router.in_flight_now, self._state)

    def add_replica(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on requests are routed to this new, empty replica."""
        self.run_until(at_ns)
        if replica_id in self._rows:
            raise InvariantBroken(f"replica {replica_id} was added twice")
        row = self._new_row()
        self._rows[replica_id] = row
        state = self._state
        control = state.control[0]
        _reset(state, row, number=replica_id, position=int(control.members))
        state.members[control.members] = row
        control.members += 1
        while (status := router.drain_queue(self._state, at_ns)) != DONE:
            self._make_room(status)

    def stop_routing(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on it only finishes what it has."""
        self.run_until(at_ns)
        position = self._position(replica_id)
        if self._state.in_flight[position] < UNROUTABLE:
            self._state.in_flight[position] += UNROUTABLE

    def kill(self, at_ns: int, replica_id: int) -> None:
        """It is gone at `at_ns`; what was in flight is sent again or lost."""
        self.stop_routing(at_ns, replica_id)
        left = np.empty(self.in_flight(replica_id), dtype=np.int64)
        position = self._position(replica_id)
        row = self._rows.pop(replica_id)
        state = self._state
        router.forget(state, row, left)
        state.replicas[row].number = NONE
        control = state.control[0]
        control.members -= 1
        control.cursor -= int(position < control.cursor)
        for array in (state.members, state.due_ns, state.in_flight):
            array[position : control.members] = array[position + 1 : control.members + 1]
        state.replicas["position"][state.members[: control.members]] = np.arange(control.members)
        self._spare_rows.append(row)
        for request in np.sort(left):
            while (status := router.lose(self._state, at_ns, request)) != DONE:
                self._make_room(status)

    def run_until(self, at_ns: int) -> None:
        """Process all that happens up to and including `at_ns`."""
        at_ns = max(at_ns, self.now_ns)
        while (status := self._run(self._state, at_ns)) != DONE:
            self._make_room(status)
        self.now_ns = at_ns

    def gauges(self, replica_id: int) -> Gauges:
        """The replica's page at the present moment."""
        assert replica_id in self._rows, replica_id
        pages = np.empty((ROWS, 1 + max(self._rows)))
        self.read_pages(pages, 0.0)
        return gauges(pages[GAUGES, replica_id].tolist())

    def read_pages(self, table: NDArray[np.float64], at_s: float) -> None:
        """Write every replica's page into its column of the table."""
        assert len(table) == ROWS, "a row for each gauge and bucket"
        assert table.shape[1] > max(self._rows, default=-1), "no column for a replica"
        self._read_pages(self._state, self.now_ns, at_s, table)

    def in_flight(self, replica_id: int) -> int:
        """Requests sent there of which the client has not seen the end."""
        return int(self._state.in_flight[self._position(replica_id)]) % UNROUTABLE

    def waiting_at_router(self) -> int:
        """Requests for which there is no replica."""
        return int(self._control[QUEUE_SIZE])

    def arrived(self) -> int:
        """Requests that clients have sent."""
        return int(self._control[NEXT_ARRIVAL])

    def outstanding(self) -> int:
        """Requests sent of which no client has seen the end."""
        return int(self._in_flight_now(self._state)) + self.waiting_at_router()

    def _position(self, replica_id: int) -> int:
        return int(self._state.replicas[self._rows[replica_id]].position)

    def _new_row(self) -> int:
        if self._spare_rows:
            return self._spare_rows.pop()
        if self._used_rows == len(self._state.replicas):
            self._state = _with_rows(self._state, 2 * self._used_rows)
        self._used_rows += 1
        return self._used_rows - 1

    def _make_room(self, status: int) -> None:
        state = self._state
        if status == MORE_SLOTS:
            self._state = state._replace(slots=_longer(state.slots))
        else:
            self._state = state._replace(queue=_longer(state.queue))


def _direct(entry: Any, *arguments: Any) -> Any:
    """The machine code of an entry for arguments of these types, to be called with no others.

    The entry itself looks up the types of all its arguments at every call, which takes longer than a
    quiet tick.
    """
    typeof: Any = numba.typeof
    return entry.compile(tuple(typeof(argument) for argument in arguments))


def prepare(profile: Profile) -> None:
    """Compile the kernel, or load it: half a minute the first time, a fraction of a second later."""
    requests = RequestColumns(
        arrival_ns=np.zeros(2, dtype=np.int64),
        prompt_tokens=np.ones(2, dtype=np.int64),
        output_tokens=np.ones(2, dtype=np.int64),
    )
    fleet = KernelFleet(
        profile, requests, routing="least-outstanding", timeout_ns=FOREVER, retries=0
    )
    fleet.add_replica(0, 0)
    fleet.run_until(1)
    fleet.gauges(0)
    fleet.kill(1, 0)


def _first_state(
    settings: NDArray[Any], work: Workload, results: RequestResults, *, retries: int
) -> State:
    empty = np.recarray((0,), dtype=REPLICA)
    by_prefix = settings["routing"][0] == PREFIX
    state = State(
        parameters=settings.view(np.recarray),
        control=np.zeros(1, dtype=CONTROL).view(np.recarray),
        replicas=empty,
        slots=np.zeros(FIRST_SLOTS, dtype=SLOT).view(np.recarray),
        entries=np.recarray((0, 0), dtype=ENTRY),
        buckets=np.zeros((0, 0), dtype=np.uint32),
        phases=np.zeros((0, 0), dtype=np.int32),
        keys=np.zeros((0, 0), dtype=np.int64),
        holders=np.zeros((0, 0), dtype=np.uint32),
        ttft=np.zeros((0, 0), dtype=np.int64),
        tpot=np.zeros((0, 0), dtype=np.int64),
        members=np.zeros(0, dtype=np.uint32),
        due_ns=np.zeros(0, dtype=np.int64),
        in_flight=np.zeros(0, dtype=np.int64),
        queue=np.zeros(FIRST_QUEUE, dtype=np.int64),
        owner=np.full((work.prefixes if by_prefix else 0, 2), NONE, dtype=np.int64),
        tries=np.zeros(len(work) if retries else 0, dtype=np.int32),
        arrival_ns=_read_only(work.arrival_ns),
        prompt=_read_only(work.prompt),
        output=_read_only(work.output),
        prefix_start=_read_only(work.prefix_start),
        prefix=_read_only(work.prefix),
        first_token_ns=results.first_token_ns,
        finished_ns=results.finished_ns,
        outcome=results.outcome,
        replica=results.replica,
    )
    control = state.control[0]
    control.slot_free = NONE
    return _with_rows(state, FIRST_ROWS)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same values for reading: to the compiler a writable array is of another type."""
    view = array.view()
    view.flags.writeable = False
    return view


def _with_rows(state: State, rows: int) -> State:
    """The same fleet with room for so many replicas at once."""
    p = state.parameters[0]
    blocks = int(p.usable) + 1
    prefixes = blocks // int(p.prefix_blocks) if p.prefix_blocks else 1
    buckets = 1 << max(2, int(prefixes - 1).bit_length() + 1)
    shapes = {
        "replicas": (rows,),
        "entries": (rows, blocks),
        "buckets": (rows, buckets),
        "phases": (rows, int(p.block_tokens)),
        "keys": (rows, int(p.requests_max)),
        "holders": (rows, int(p.requests_max)),
        "ttft": (rows, len(TTFT_BOUNDS_NS) + 1),
        "tpot": (rows, len(TPOT_BOUNDS_NS) + 1),
        "members": (rows,),
        "due_ns": (rows,),
        "in_flight": (rows,),
    }
    made = {}
    for name, shape in shapes.items():
        old = getattr(state, name)
        # Zeroed by the kernel when they are touched: entries that no replica needs cost nothing.
        new = np.zeros(shape, dtype=old.dtype)
        new[: len(old)] = old if old.size else 0
        made[name] = new.view(np.recarray) if old.dtype.names else new
    return state._replace(**made)


def _longer(array: NDArray[Any]) -> NDArray[Any]:
    """Twice as long, with the same beginning."""
    made = np.zeros(2 * len(array), dtype=array.dtype)
    made[: len(array)] = array
    return made.view(np.recarray) if array.dtype.names else made


def _reset(state: State, row: int, *, number: int, position: int) -> None:
    """An empty replica."""
    state.replicas[row] = 0
    r = state.replicas[row]
    for link in _LINKS:
        setattr(r, link, NONE)
    r.number = number
    r.position = position
    r.step_end_ns = r.last_start_ns = NEVER
    r.drop_ns = r.deadline_ns = FOREVER
    r.free = r.plain = state.parameters[0].usable
    state.buckets[row] = NONE
    state.phases[row] = 0
    state.ttft[row] = 0
    state.tpot[row] = 0
    state.due_ns[position] = FOREVER
    state.in_flight[position] = 0
