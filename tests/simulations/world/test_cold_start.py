"""Cold starts: a distribution per phase, with a shortest start for the bounds."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import SettingsError, TraceError
from simulations.rng import stream
from simulations.world.cold_start import COLD_STARTS, cold_start
from tests.require import traces_folder


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


LOADS = (
    "run,model,loader,access,replica,loading_time_s,first_inference_s\n"
    "h,Qwen/Qwen3-32B,sllm,random,1,3.5,0.2\nh,Qwen/Qwen3-32B,sllm,random,2,2.5,0.2\n"
    "h,Qwen/Qwen3-32B,sllm,cached,1,1.5,0.2\nh,Llama,sllm,random,1,0.7,0.2\n"
)
QWEN = ",model=Qwen/Qwen3-32B,loader=sllm,access=random"


def written(folder: Path, text: str, *, zipped: bool = False) -> str:
    path = folder / "starts.csv"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return str(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_recorded_loads_are_drawn_and_the_rest_is_the_profile(tmp_path: Path, *, zipped: bool):
    start = cold_start(written(tmp_path, LOADS, zipped=zipped) + QWEN)
    standard = COLD_STARTS["standard"]
    assert (start.pull_s, start.load_s, start.warm_up_s) == (75.0, 3.0, standard.warm_up_s)
    assert start.shortest_s == 2.5 + 0.65 * standard.warm_up_s
    random = stream(1, "test")
    drawn = [start.draw(random) for _ in range(2000)]
    loads = [times.load_ns / 1e9 for times in drawn]
    assert set(loads) == {2.5, 3.5}
    assert np.mean(loads) == pytest.approx(3.0, abs=0.05)
    shortest = min(times.load_ns + times.warm_up_ns for times in drawn) / 1e9
    assert start.shortest_s - 1e-6 <= shortest < start.shortest_s * 1.05
    assert np.std([times.warm_up_ns for times in drawn]) > 0
    assert np.mean([times.pull_ns for times in drawn]) == pytest.approx(75e9, rel=0.03)


def test_the_rest_may_be_of_another_profile(tmp_path: Path):
    start = cold_start(written(tmp_path, LOADS) + QWEN + ",rest=cold")
    assert (start.node_s, start.warm_up_s) == (120.0, 100.0)


def test_phases_measured_together_are_drawn_together(tmp_path: Path):
    text = "when,load_s,warm_up_s\na,10,100\nb,20,50\nc,30,60\n"
    start = cold_start(written(tmp_path, text) + ",rest=cold")
    assert start.shortest_s == 70.0
    assert start.mean_s == 120 + 120 + 20 + 70
    random = stream(1, "test")
    pairs = {
        (times.load_ns // 10**9, times.warm_up_ns // 10**9)
        for times in (start.draw(random) for _ in range(200))
    }
    assert pairs == {(10, 100), (20, 50), (30, 60)}


def test_measured_starts_take_as_much_of_the_stream(tmp_path: Path):
    hot, measured = stream(1, "test"), stream(1, "test")
    COLD_STARTS["hot"].draw(hot)
    cold_start(written(tmp_path, LOADS) + QWEN).draw(measured)
    assert hot.random() == measured.random()


@pytest.mark.parametrize(
    ("text", "settings", "found"),
    [
        (
            LOADS,
            "",
            "several kinds of start; choose one of: run=h,model=Qwen/Qwen3-32B,loader=sllm",
        ),
        (LOADS, ",model=GPT", "no such start; choose one of: run=h,model=Qwen"),
        (LOADS, ",gpu=L40S", "no setting 'gpu' of this format of cold starts; write one of run"),
        (LOADS, QWEN + ",rest=tepid", "rest is 'tepid'; write one of hot, warm"),
        (LOADS + "h,L,s,r,1,soon,1\n", QWEN, "line 6: loading_time_s is 'soon'"),
        (LOADS + "h,L,s,r,1,-1,1\n", QWEN, "line 6: loading_time_s is '-1'"),
        (LOADS + "h,L,s\n", QWEN, "line 6: 3 fields"),
        ("seconds\n5\n", "", "no known format of cold starts: begins with 'seconds'; known are"),
        ("load_s,warm_up_s\n5\n", "", "line 2: 1 fields"),
        ("load_s,warm_up_s\n5,nan\n", "", "line 2: warm_up_s is 'nan'"),
        ("load_s,warm_up_s\n", "", "holds no start"),
        ("load_s\n5\n", ",model=GPT", "no setting 'model' of this format"),
    ],
)
def test_what_is_wrong_with_measured_starts_is_said(
    tmp_path: Path, text: str, settings: str, found: str
):
    with pytest.raises(TraceError) as caught:
        cold_start(written(tmp_path, text) + settings)
    assert found in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(SettingsError, match="or name a readable file of measured starts"):
        cold_start(str(tmp_path / "gone.csv") + QWEN)


@pytest.mark.traces
def test_recorded_load_times_hold_what_their_publishers_say():
    path = traces_folder() / "coldstart" / "serverlessllm_load_times.csv.gz"
    llama = cold_start(
        f"{path},model=meta-llama/Llama-3.1-8B-Instruct,loader=safetensors,access=random,rest=warm"
    )
    assert llama.load_s == pytest.approx(4.5, abs=0.3)
    assert llama.shortest_s == pytest.approx(2.720198 + 0.65 * 35.0)
