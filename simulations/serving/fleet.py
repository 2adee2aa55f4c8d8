"""A fleet of replicas behind one router: the public interface of the serving model.

Behind it stands the compiled kernel where numba is installed, else the reference: the same results, to
the nanosecond, a thousand times slower.
"""

from __future__ import annotations

import importlib.util
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import SettingsError
from simulations.serving.columns import Gauges, RequestColumns, RequestResults
from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.fleet import ReferenceFleet
from simulations.serving.workload import Workload

ROUTINGS = ("least-outstanding", "round-robin", "prefix")
TIMEOUT_NS = 120_000_000_000
"""How long a client waits for its whole answer, unless a run says otherwise."""
EngineChoice = Literal["auto", "reference", "numba"]
INSTALL_NUMBA = (
    "the compiled serving kernel needs numba, which is not installed: "
    "pip install 'inference-autoscaler[simulate]'"
)


class FleetModel(Protocol):
    """What `ServingFleet` needs of a model of serving."""

    work: Workload
    results: RequestResults
    now_ns: int

    def add_replica(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on it is routable."""

    def stop_routing(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on it only finishes."""

    def kill(self, at_ns: int, replica_id: int) -> None:
        """It is gone at `at_ns`."""

    def run_until(self, at_ns: int) -> None:
        """Process all up to `at_ns`."""

    def gauges(self, replica_id: int) -> Gauges:
        """A page."""

    def in_flight(self, replica_id: int) -> int:
        """Requests at a replica."""

    def waiting_at_router(self) -> int:
        """Requests without one."""

    def read_pages(self, table: NDArray[np.float64], at_s: float) -> None:
        """All pages at once."""

    def arrived(self) -> int:
        """Requests sent."""

    def outstanding(self) -> int:
        """Requests sent without an end."""


class ServingFleet:
    """Requests arrive, replicas come and go; every call moves time forward, never back.

    At one instant the order is: step ends, what clients see of them, time-outs, arrivals, then what
    the caller does, and last the starts of steps. The rules are in `reference`.
    """

    def __init__(
        self,
        profile: Profile,
        requests: RequestColumns,
        *,
        routing: str = "least-outstanding",
        timeout_ns: int = TIMEOUT_NS,
        retries: int = 0,
        engine: EngineChoice = "auto",
    ) -> None:
        """Prepare to serve these requests.

        Args:
            profile: Of every replica.
            requests: Row numbers are their identity.
            routing: One of ROUTINGS.
            timeout_ns: A client gives up so long after its first arrival.
            retries: How often a client sends again what a killed replica lost.
            engine: `numba` is the compiled kernel, `reference` needs no compiler and is slow, `auto`
                takes the kernel where numba is installed.

        Raises:
            SettingsError: No such routing, the trace's prefix blocks do not fit the profile's, or
                numba is asked for and not installed.
        """
        if routing not in ROUTINGS:
            raise SettingsError(f"no routing {routing!r}; choose one of {', '.join(ROUTINGS)}")
        self.profile = profile
        self.requests = requests
        self.timeout_ns = timeout_ns
        self.engine = _engine(engine)
        build = ReferenceFleet if self.engine == "reference" else _kernel_fleet
        self._model: FleetModel = build(
            profile, requests, routing=routing, timeout_ns=timeout_ns, retries=retries
        )
        self.results = self._model.results
        """A row is filled in when its outcome is decided; a pending one may lack its first token."""

    def add_replica(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on requests are routed to this new, empty replica. Ids are never reused."""
        self._model.add_replica(at_ns, replica_id)

    def stop_routing(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on it only finishes what it has."""
        self._model.stop_routing(at_ns, replica_id)

    def kill(self, at_ns: int, replica_id: int) -> None:
        """It is gone at `at_ns`; what was in flight is sent again or lost."""
        self._model.kill(at_ns, replica_id)

    def run_until(self, at_ns: int) -> None:
        """Process all that happens up to and including `at_ns`."""
        self._model.run_until(at_ns)

    def gauges(self, replica_id: int) -> Gauges:
        """The replica's page at the present moment."""
        return self._model.gauges(replica_id)

    def in_flight(self, replica_id: int) -> int:
        """Requests sent there of which the client has not seen the end."""
        return self._model.in_flight(replica_id)

    def waiting_at_router(self) -> int:
        """Requests for which there is no replica."""
        return self._model.waiting_at_router()

    def read_pages(self, table: NDArray[np.float64], at_s: float) -> None:
        """Write the page of every living replica into a table, at the present moment.

        The column is the replica's number; `histograms` says what stands in which row.
        """
        self._model.read_pages(table, at_s)

    def arrived(self) -> int:
        """Requests that clients have sent by now."""
        return self._model.arrived()

    def outstanding(self) -> int:
        """Those of which no client has seen the end: at replicas, or waiting for one."""
        return self._model.outstanding()

    @property
    def note(self) -> str | None:
        """What a user should hear about the engine that `auto` chose; None: nothing."""
        if self.engine == "numba":
            return None
        return f"{INSTALL_NUMBA} makes this a thousand times faster"

    @property
    def now_ns(self) -> int:
        """The moment up to which everything has been processed."""
        return self._model.now_ns

    @property
    def cut_requests(self) -> int:
        """Requests whose tokens were cut because the KV cache could never have held them."""
        return self._model.work.cut_requests


def _engine(asked: EngineChoice) -> Literal["reference", "numba"]:
    """Which model to use.

    Raises:
        SettingsError: numba is asked for and not installed.
    """
    if asked == "reference":
        return "reference"
    if _numba_is_there():
        return "numba"
    if asked == "numba":
        raise SettingsError(INSTALL_NUMBA)
    return "reference"


def _numba_is_there() -> bool:
    try:
        return importlib.util.find_spec("numba") is not None
    except ValueError:
        return False


def _kernel_fleet(
    profile: Profile, requests: RequestColumns, *, routing: str, timeout_ns: int, retries: int
) -> FleetModel:
    # Importing numba takes a second: only where it is used.
    from simulations.serving.kernel.fleet import KernelFleet  # noqa: PLC0415

    return KernelFleet(profile, requests, routing=routing, timeout_ns=timeout_ns, retries=retries)
