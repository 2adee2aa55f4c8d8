"""`python -m simulations.box.local_cluster`, by itself."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from click.testing import CliRunner

from simulations.box.local_cluster.__main__ import main

STAND_IN = Path(__file__).with_name("stand_in.py")
MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: llama, namespace: serving}}
spec:
  selector: {{matchLabels: {{app: llama}}}}
  template:
    metadata: {{labels: {{app: llama}}}}
    spec:
      containers:
      - name: vllm
        command: [python3, {STAND_IN}]
        args: [--host=$(POD_IP)]
        ports: [{{name: http, containerPort: 8000}}]
        env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: llama, namespace: serving}}
spec: {{selector: {{app: llama}}, ports: [{{port: 80, targetPort: http}}]}}
---
kind: PersistentVolumeClaim
metadata: {{name: cache, namespace: serving}}
"""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.yaml"], "does not exist"),
        (["list.yaml"], "list.yaml: document 1 has no kind: it is no manifest"),
        (["broken.yaml"], "broken.yaml: this is no YAML"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("- a\n- b\n")
    Path("broken.yaml").write_text("kind: {\n")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())


@pytest.mark.slow
async def test_it_serves_until_it_is_told_to_stop(tmp_path: Path):
    manifest = tmp_path / "llama.yaml"
    manifest.write_text(MANIFEST)
    folder = tmp_path / "box"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulations.box.local_cluster",
        f"--folder={folder}",
        str(manifest),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(4)]
    said = "".join(lines)
    assert "document 3, a PersistentVolumeClaim, means nothing here" in said
    assert f"export KUBECONFIG={folder}/kubeconfig" in said
    found = re.search(r"llama: (http://127\.0\.0\.1:\d+)", said)
    assert found is not None
    server = yaml.safe_load((folder / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]

    with await asyncio.to_thread(urlopen, f"{server}/api/v1/nodes") as answer:
        nodes = {node["metadata"]["name"] for node in json.load(answer)["items"]}
    assert nodes == {"on-demand-1", "spot-1", "spot-2"}
    async with asyncio.timeout(60):
        while True:
            try:
                with await asyncio.to_thread(urlopen, found[1]) as answer:
                    assert answer.read().startswith(b"127.")
                    break
            except OSError:
                pass  # the pod is starting
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
    assert (folder / "logs").is_dir()  # a folder that was given is kept
