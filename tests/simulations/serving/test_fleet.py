"""The door of the serving model: which engine stands behind it, and what it refuses."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from autoscaler.errors import InvariantBroken, SettingsError
from simulations.serving.fleet import EngineChoice, ServingFleet
from tests.simulations.serving.hand import columns, profile

ENGINES: tuple[EngineChoice, ...] = ("reference", "numba")


def test_the_kernel_is_chosen_where_numba_is_installed() -> None:
    pytest.importorskip("numba")
    fleet = ServingFleet(profile(), columns((0, 1, 1)))
    assert fleet.engine == "numba"
    assert fleet.note is None


def test_without_numba_the_reference_serves_and_a_note_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    fleet = ServingFleet(profile(), columns((0, 1, 1)))
    assert fleet.engine == "reference"
    assert fleet.note is not None
    assert "inference-autoscaler[simulate]" in fleet.note
    fleet.add_replica(0, 0)
    fleet.run_until(1000)
    assert fleet.results.finished_ns.tolist() == [100]


def test_numba_that_is_asked_for_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(SettingsError, match=r"pip install 'inference-autoscaler\[simulate\]'"):
        ServingFleet(profile(), columns((0, 1, 1)), engine="numba")


def test_an_unknown_routing_is_refused() -> None:
    with pytest.raises(SettingsError, match="no routing 'random'; choose one of least-outstanding"):
        ServingFleet(profile(), columns((0, 1, 1)), routing="random")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_replica_cannot_be_added_twice(engine: EngineChoice) -> None:
    fleet = ServingFleet(profile(), columns((0, 1, 1)), engine=engine)
    fleet.add_replica(0, 3)
    with pytest.raises(InvariantBroken, match="replica 3 was added twice"):
        fleet.add_replica(5, 3)


@pytest.mark.parametrize("engine", ENGINES)
def test_cut_requests_are_counted(engine: EngineChoice) -> None:
    fleet = ServingFleet(profile(kv_blocks=3), columns((0, 99, 1), (0, 1, 1)), engine=engine)
    assert fleet.cut_requests == 1


def test_more_tokens_than_the_kernel_counts_are_refused() -> None:
    pytest.importorskip("numba")
    huge = profile(kv_blocks=1 << 28)
    with pytest.raises(
        SettingsError, match=r"268435456 blocks of 4 tokens; .* give fewer kv_blocks"
    ):
        ServingFleet(huge, columns((0, 1, 1)), engine="numba")


@pytest.mark.parametrize("engine", ENGINES)
def test_time_never_goes_back(engine: EngineChoice) -> None:
    fleet = ServingFleet(profile(), columns((0, 1, 3)), engine=engine)
    fleet.add_replica(0, 0)
    fleet.run_until(250)
    fleet.run_until(100)
    assert fleet.now_ns == 250
    assert fleet.gauges(0).generation_tokens_total == 2


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_more_replicas_requests_and_waiting_ones_than_there_was_room_for(
    engine: EngineChoice,
) -> None:
    """The arrays of the kernel grow: 40 replicas, 5,000 in flight, 5,000 at the router."""
    rows = tuple((0, 1, 50) for _ in range(5000))
    fleet = ServingFleet(profile(), columns(*rows), engine=engine, retries=1)
    fleet.run_until(10)
    assert fleet.waiting_at_router() == 5000
    for replica in range(40):
        fleet.add_replica(20 + replica, replica)
    assert fleet.in_flight(0) == 5000
    fleet.kill(1000, 0)
    assert fleet.waiting_at_router() == 0
    assert sum(fleet.in_flight(replica) for replica in range(1, 40)) + 8 >= 4992
    for replica in range(1, 40):
        fleet.stop_routing(1001, replica)
    fleet.kill(1002, 1)
    fleet.run_until(10**9)
    outcomes = fleet.results.outcome
    assert set(outcomes.tolist()) <= {1, 3}
    assert int((outcomes == 1).sum()) > 4000


def test_a_change_of_any_source_is_another_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the old machine code would stay in use."""
    pytest.importorskip("numba")
    from simulations.serving.kernel import compiled

    sources = tmp_path / "kernel"
    shutil.copytree(Path(compiled.__file__).parent, sources)
    monkeypatch.setattr(compiled, "__file__", str(sources / "compiled.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {compiled._folder()}
    for count, source in enumerate(sorted(sources.glob("*.py")), 2):
        source.write_text(source.read_text() + "# changed\n")
        folders.add(compiled._folder())
        assert len(folders) == count, source.name
    assert len(folders) > 8


def test_read_only_columns_are_no_other_type_to_the_compiler() -> None:
    """Traces come from buffers, which numpy does not let write to; that must not compile anew."""
    pytest.importorskip("numba")
    from simulations.serving.kernel import router

    def serve(*, writable: bool) -> None:
        requests = columns((0, 9, 2), (5, 9, 2), blocks=((1, 2), (1, 3)))
        for column in (requests.arrival_ns, requests.prompt_tokens, requests.blocks):
            assert column is not None
            column.flags.writeable = writable
        fleet = ServingFleet(profile(prefix_caching=True), requests, engine="numba")
        fleet.add_replica(0, 0)
        fleet.run_until(10**6)
        assert fleet.results.finished_ns.tolist() == [200, 300]

    serve(writable=True)
    compiled = len(router.run.signatures)
    serve(writable=False)
    assert len(router.run.signatures) == compiled == 1
