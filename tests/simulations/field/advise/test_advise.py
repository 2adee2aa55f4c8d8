"""The whole command against a real Prometheus that promtool filled, and against ones that do not help."""

from __future__ import annotations

import http.server
import json
import re
import threading
from typing import ClassVar

import pytest
import yaml

from tests.simulations.field.advise.command import advise as run_command
from tests.simulations.field.advise.command import moment
from tests.simulations.field.advise.history import START, STEP, Model, openmetrics
from tests.simulations.real_prometheus import fill, free_port, prometheus

POINTS = 361  # three hours
LLAMA = Model(
    namespace="serving",
    name="meta-llama/Llama-3.1-8B-Instruct",
    pods=("llama-6f7c9d8b5-aaaaa", "llama-6f7c9d8b5-bbbbb", "llama-6f7c9d8b5-ccccc"),
    first={"llama-6f7c9d8b5-ccccc": 60},
    away=(200, 240),
    created={"llama-6f7c9d8b5-ccccc": START + 60 * STEP - 135.0},
)
QWEN = Model(
    namespace="chat",
    name="qwen3-14b-awq",
    pods=("qwen-5d5f7c9b4-aaaaa",),
    per_step=9,
    tpot_s=0.0055,
    ttft_s=0.08,
    newest=False,
)
UNTIL = START + (POINTS - 1) * STEP
HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: llama, namespace: serving}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama}
  minReplicas: 2
  maxReplicas: 4
  metrics:
"""
RUNNING = """  - type: Pods
    pods: {metric: {name: "vllm:num_requests_running"}, target: {type: AverageValue, averageValue: "5"}}
"""
CPU = """  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
"""


def advise(url: str, *more: str, until: float = UNTIL):
    return run_command(url, *more, until=until, since="3h")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("advise")
    fill(folder, openmetrics([LLAMA, QWEN], points=POINTS))
    with prometheus(folder) as address:
        yield address


pytestmark = [pytest.mark.slow, pytest.mark.prometheus, pytest.mark.timeout(400)]


def test_two_models_in_two_namespaces_each_with_its_generation_of_names(url):
    code, out, err = advise(url, "-o", "json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["schema"] == "autoscaler.advise/v1"
    models = {(m["namespace"], m["model"]): m for m in answer["models"]}
    assert set(models) == {("serving", LLAMA.name), ("chat", QWEN.name)}
    llama, qwen = models["serving", LLAMA.name], models["chat", QWEN.name]
    assert (qwen["profile"]["name"], qwen["profile"]["guessed"]) == ("qwen3-14b-awq/1xH100", True)
    assert (llama["profile"]["name"], llama["deployment"]) == ("llama-3.1-8b/1xL40S", "llama")
    assert "guess" in llama["profile"]["why"]
    # kube-state-metrics told when the third pod was created: 135 s before, less half a step
    assert llama["cold_start"]["mean_s"] == pytest.approx(120.0)
    assert "median of 1 recorded" in llama["cold_start"]["why"]
    assert qwen["cold_start"]["mean_s"] == pytest.approx(180.0)
    # 40 lost points of half a minute, less the five minutes that Prometheus carries a value on
    (hole,) = llama["holes"]
    assert qwen["holes"] == []
    assert hole[1] == moment(START + 240 * STEP).replace("+00:00", "Z")
    assert 3600 * (3.0 - llama["hours"]) == pytest.approx(40 * STEP - 300, abs=2 * STEP)
    # what the pods did is what is replayed
    assert qwen["requests"] == pytest.approx(9 * 360, rel=0.01)
    assert qwen["as_recorded"]["cost_usd"] == pytest.approx(3 * 6.88, rel=0.01)
    assert qwen["recorded"]["ttft_mean"] == pytest.approx(QWEN.ttft_s)
    assert qwen["recorded"]["tpot_mean"] == pytest.approx(QWEN.tpot_s)
    assert llama["recorded"]["e2e_mean"] == pytest.approx(0.15 + 99 * 0.028)
    for model in (llama, qwen):
        assert model["now"] == model["as_recorded"]
        assert model["saving_usd"] == pytest.approx(
            model["now"]["cost_usd"] - model["inference_aware"]["cost_usd"], abs=1e-5
        )
        assert abs(model["replay_error"]["tpot_mean"]) < 0.15


def test_an_hpa_that_is_given_is_replayed_as_what_runs_now(url, tmp_path):
    manifests = tmp_path / "hpa.yaml"
    manifests.write_text(HPA + RUNNING)
    page = tmp_path / "report.html"
    more = ("--namespace", "serving", "--manifests", str(manifests), "--report", str(page))
    code, out, err = advise(url, *more)
    assert code == 0, err
    assert "now: HPA serving/llama" in out
    assert re.search(r"^as it was +\d", out, re.MULTILINE)
    assert "at most 4 replicas, as HPA serving/llama is" in re.sub(r"\s+", " ", out)
    assert re.search(r"^holes +0\.\d+ h in which", out, re.MULTILINE)
    assert "kubectl apply -k deploy/overlays/site" in out.splitlines()[-1]
    assert "HPA serving/llama" in page.read_text()


class Api(http.server.BaseHTTPRequestHandler):
    """An API server with one HPA and no KEDA."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        found = self.path.startswith("/apis/autoscaling/v2/")
        item = yaml.safe_load(HPA + RUNNING)
        del item["kind"], item["apiVersion"]  # items of a list do not say them
        answer = {
            "kind": "HorizontalPodAutoscalerList",
            "apiVersion": "autoscaling/v2",
            "metadata": {"resourceVersion": "7"},
            "items": [item],
        }
        failure = {"kind": "Status", "status": "Failure", "code": 404, "message": "not found"}
        body = json.dumps(answer if found else failure).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def kubeconfig(tmp_path):
    """A kubeconfig of that server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cluster = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "c", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        yield tmp_path / "kubeconfig"
        server.shutdown()


def test_what_scales_it_is_read_from_the_cluster_that_is_named(url, kubeconfig):
    more = ("--namespace", "serving", "--kubeconfig", str(kubeconfig), "-o", "json")
    code, out, err = advise(url, *more)
    assert code == 0, err
    (model,) = json.loads(out)["models"]
    assert (model["now"]["policy"], model["replicas_max"]) == ("HPA serving/llama", 4)
    assert Api.asked, "nothing but reads"
    assert all(asked.startswith("GET ") for asked in Api.asked)


def test_an_hpa_that_cannot_be_replayed_says_so_and_the_record_stands(url, tmp_path):
    manifests = tmp_path / "hpa.yaml"
    manifests.write_text(HPA + RUNNING + CPU)
    code, out, err = advise(
        url, "--namespace", "serving", "--manifests", str(manifests), "-o", "json"
    )
    assert code == 0, err
    (model,) = json.loads(out)["models"]
    assert model["now"]["policy"] == "as recorded"
    (note,) = (note for note in model["notes"] if "HPA serving/llama cannot be replayed" in note)
    assert "Resource metric (cpu)" in note


def test_the_same_seed_is_the_same_answer(url):
    answers = [advise(url, "--namespace", "chat", "-o", "json")[1] for _ in range(2)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--namespace", "nowhere"),
            "no series .* in namespace nowhere; there are some in chat, serving",
        ),
        (("--model", "gpt"), "no such model in this Prometheus; there are: .*qwen3-14b-awq"),
        (("--profile", "gpt/1xB200"), "no such profile and no such file; write one of"),
        (("--cold-start", "soon"), "--cold-start 'soon'"),
        (("--objective", "fast"), "--objective 'fast'"),
        (("--since", "a week"), "--since a week: not a span"),
        (("--manifests", "nowhere.yaml"), "--manifests nowhere.yaml: .*give a YAML file"),
        (("--report", "nowhere/page.html"), "--report nowhere/page.html: .*folder that exists"),
        (("--bearer-token-file", "nowhere"), "reading the bearer token"),
        (("--kubeconfig", "nowhere"), "leave out --kubeconfig"),
    ],
)
def test_what_cannot_be_worked_with_is_said_and_ends_with_2(url, more, message):
    code, out, err = advise(url, *more)
    assert (code, out) == (2, ""), err
    assert re.search(message, err), err


def test_a_span_without_data_says_where_to_look(url):
    code, _, err = advise(url, until=START - 864_000)
    assert code == 2
    assert (
        "no series vllm:num_requests_running in the last 3.0 h; does this Prometheus scrape" in err
    )


def test_a_prometheus_that_is_down_is_named():
    address = f"http://127.0.0.1:{free_port()}"
    code, _, err = advise(address)
    assert code == 2
    assert address in err
    assert "is the address right" in err


def test_a_prometheus_that_wants_to_know_who_asks_says_how_to_tell_it(tmp_path):
    (tmp_path / "web.yml").write_text(
        # the hash of `test` in Prometheus's own documentation
        "basic_auth_users:\n  admin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay\n"
    )
    with prometheus(tmp_path, arguments=(f"--web.config.file={tmp_path / 'web.yml'}",)) as address:
        code, _, err = advise(address)
        assert code == 2
        assert "401" in err
        assert "--bearer-token-file or --header" in err
        header = "Authorization=Basic YWRtaW46dGVzdA=="
        code, _, err = advise(address, "--header", header)
        assert code == 2
        assert "no series vllm:num_requests_running" in err, "let in, and nothing there"
