"""The definition on a real API server: it is taken, and refuses what files refuse, in words for people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.core.contract.commands import PAUSED_ANNOTATION
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.resources import INFERENCE_AUTOSCALERS
from autoscaler.settings import load_config, read_config, to_core
from tests.kube.control_plane import NAMESPACE, ControlPlane, running_control_plane
from tests.kube.definition import conditions, install
from tests.require import ROOT
from tests.test_floor_settings import SCHEDULE_MISTAKES, schedule
from tests.test_settings import MISTAKES, WHOLE, document, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AS_KUBECTL = {"fieldValidation": "Strict", "dryRun": "All"}
EXAMPLES = (
    "deploy/base/daemon/config.yaml",
    "deploy/overlays/site/config.yaml",
    "simulations/box/demo/resource.yaml",
)

REFUSED = {
    "no pools": "spec.pools: Required value",
    "empty pools": "at least 1 items",
    "pools that are no list": "must be of type array",
    "no target": "spec.pools[0].scaleTargetRef: Required value",
    "a pool name that is no label": 'spec.pools[0].name: Invalid value: "A_b"',
    "a kind that cannot be scaled": 'supported values: "Deployment"',
    "a float where a quantity stands": "must be of type integer,string",
    "a quantity that is none": 'spec.pools[0].priceUSDPerHour: Invalid value: "free"',
    "a price of nothing": 'spec.pools[0].priceUSDPerHour: Invalid value: "0"',
    "no replica at all": "greater than or equal to 1",
    "half a replica": "must be of type int32",
    "minimum above maximum": "spec.minReplicas: Invalid value: above maxReplicas; write at most as many, or "
    "raise maxReplicas",
    "floor above maximum": "spec.warmFloor.replicas: Invalid value: above maxReplicas; write at most as many",
    "a floor without a pool of its type": "no pool has the capacityType Spot; write one that a pool has",
    "attainment below half": 'spec.objective.attainmentPercent: Invalid value: "49": write at least 50',
    "a target of hardly any request": "write at least 0.1",
    "attainment that nothing can have": 'Invalid value: "100": write at most 99.99',
    "a boolean for a word": 'supported values: "Auto", "Off"',
    "a margin longer than any notice": "less than or equal to 100",
    "a behavior without policies": "at least 1 items",
    "a window longer than HPA's": "less than or equal to 3600",
    "a misspelt field deep down": 'unknown field "spec.behavior.scaledown"',
    "Prometheus without a server": "spec.metrics.prometheus: Invalid value: nothing, with source Prometheus; "
    "write prometheus: {server: NAME}",
    "a Prometheus without a name": "spec.metrics.prometheus.server: Required value",
    "an address, which is its operator's": 'unknown field "spec.metrics.prometheus.serverAddress"',
    "a token file, which is its operator's": 'unknown field "spec.metrics.prometheus.bearerTokenFile"',
    "a matcher for whose pods they are": "a label that is asked for anyway (__name__, namespace, pod); take it away",
    "a port twice": "spec.metrics.ports[2]: Duplicate value: 8000",
    "port and ports": "ports beside port; write one of them",
    "a port that is none": "less than or equal to 65535",
    "a scheme in lower case": 'supported values: "HTTP", "HTTPS"',
    "TLS settings without TLS": "TLS settings, with scheme HTTP; write scheme: HTTPS, or take tls away",
    "a deadline of nothing": "greater than or equal to 1",
    "a path that is a host": 'spec.metrics.path: Invalid value: "//evil:80/x"',
    "a bracket": 'spec.metrics.path: Invalid value: "//["',
    "a path": 'spec.metrics.path: Invalid value: "metrics"',
    "no names": "at least 1 items",
    "case": 'supported values: "VLLM", "TGI", "SGLang", "RayServe"',
    "British spelling": 'unknown field "spec.behaviour"',
    "a stranger": 'unknown field "spec.xyzzy"',
}
"""Of the mistakes of documents, by their name: words of what the server says."""
REFUSED_SCHEDULES = {
    "a number for a zone": "must be of type string",
    "a day that is none": 'spec.warmFloor.schedules[1].days: Invalid value: "Mon-Fr"',
    "an hour of one digit": 'spec.warmFloor.schedules[1].from: Invalid value: write hours and minutes in quotes, '
    'from "00:00" to "24:00"',
    "a number for a time": "must be of type string",
    "a beginning at the end": 'from is "24:00"; write "00:00", of the next day',
    "no beginning": "spec.warmFloor.schedules[1].from: Required value",
    "an end after the day": "spec.warmFloor.schedules[1].to: Invalid value: write hours and minutes in quotes",
    "an end at its beginning": 'to is also where it begins; write another time; a whole day is from "00:00" to "24:00"',
    "above the maximum": "spec.warmFloor.schedules: Invalid value: a schedule above maxReplicas",
    "none": "greater than or equal to 1",
    "not said how many": "spec.warmFloor.schedules[1].replicas: Required value",
    "a field that is misspelt": 'unknown field "spec.warmFloor.schedules[1].timezone"',
}  # fmt: skip
MORE_REFUSED = {
    "a ramp without a forecast": (
        {"warmFloor": {"ramp": "Auto"}, "forecast": {"mode": "Off"}},
        "write forecast: {mode: Auto}, or ramp: Off",
    ),
    "certificates to trust, and trust in whoever": (
        {"metrics": {"scheme": "HTTPS", "tls": {"ca": "x", "insecureSkipVerify": True}}},
        "true, beside certificates to trust; write one of them",
    ),
    "a label that is none": (
        {"metrics": {"prometheus": {"server": "main", "matchers": {"1a": "x"}}}},
        "not beginning with a digit",
    ),
    "a pool's name twice": (
        {"pools": [{"name": "a", "scaleTargetRef": {"name": each}} for each in "xy"]},
        "Duplicate value",
    ),
    "a tolerance above one": (
        {"behavior": {"scaleUp": {"tolerance": "1.1"}}},
        "write at most 1",
    ),
    "a price of nothing, as a number": (
        {"pools": [{"name": "a", "scaleTargetRef": {"name": "x"}, "priceUSDPerHour": 0}]},
        "should be greater than 0",
    ),
}
LEFT_TO_THE_DAEMON = {
    "a CA that is none",
    "a zone that is misspelt", "an abbreviation", "the machine's own", "a path", "leap seconds",
    "one of a list", "no day",
}  # fmt: skip
"""What neither a schema nor CEL can say: certificates, the database of time zones, and lists where a text may stand
too. The daemon refuses these and says so in the status; so it does with a pause that is misspelt (CEL sees no
annotations), a target of two models, and a Prometheus that it was not given."""


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Any:
    async def set_up(made: ControlPlane, admin: Client) -> None:
        await made.set_up(admin)
        await install(admin)

    with running_control_plane(tmp_path_factory.mktemp("definition"), set_up) as made:
        yield made


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await control_plane.admin() as made:
        yield made


async def refusal(admin: Client, body: dict[str, Any]) -> str:
    """What the server says of a resource that kubectl would send; empty: it takes it."""
    try:
        await admin.call(
            "create", INFERENCE_AUTOSCALERS, namespace=NAMESPACE, body=body, query=AS_KUBECTL
        )
    except ApiError as error:
        return error.found
    return ""


async def test_it_is_established_and_structural(admin: Client):
    assert await conditions(admin) == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("text", [*EXAMPLES, "whole", "least"])
async def test_an_example_is_taken_and_means_what_it_means_in_a_file(
    admin: Client, text: str, tmp_path: Path
):
    """What the server fills in are the defaults of files: both convert to the same."""
    written = {"whole": WHOLE, "least": yaml.safe_dump(document())}.get(text)
    path = write(tmp_path, written) if written is not None else ROOT / text
    for resource in load_config(path).resources:
        body = next(
            each
            for each in yaml.safe_load_all(path.read_text())
            if each["metadata"]["name"] == resource.metadata.name
        )
        namespace = body["metadata"]["namespace"]
        body["metadata"]["namespace"] = NAMESPACE
        stored = await admin.call(
            "create", INFERENCE_AUTOSCALERS, namespace=NAMESPACE, body=body, query=AS_KUBECTL
        )
        stored["metadata"]["namespace"] = namespace
        (read,) = load_config(write(tmp_path, stored, name="stored.yaml")).resources
        assert to_core(read) == to_core(resource)


async def test_what_files_refuse_is_refused(admin: Client):
    names = [each.id for each in MISTAKES]
    assert set(names) == REFUSED.keys() | {"a CA that is none"}
    for each in MISTAKES:
        said = await refusal(admin, document(**each.values[0]))
        if each.id in REFUSED:
            assert REFUSED[each.id] in said, each.id
        else:
            assert (said, each.id in LEFT_TO_THE_DAEMON) == ("", True), each.id


async def test_schedules_that_files_refuse_are_refused(admin: Client):
    for each in SCHEDULE_MISTAKES:
        floor = {"schedules": [schedule(), schedule(**each.values[0])]}
        said = await refusal(admin, document(warmFloor=floor))
        if each.id in REFUSED_SCHEDULES:
            assert REFUSED_SCHEDULES[each.id] in said, each.id
        else:
            assert (said, each.id in LEFT_TO_THE_DAEMON) == ("", True), each.id


@pytest.mark.parametrize("name", MORE_REFUSED)
async def test_more_that_is_refused(admin: Client, name: str, tmp_path: Path):
    spec, words = MORE_REFUSED[name]
    assert words in await refusal(admin, document(**spec))
    assert read_config(write(tmp_path, document(**spec))).problems, "a file refuses it too"


async def test_a_pause_that_is_misspelt_is_left_to_the_daemon(admin: Client):
    made = document()
    made["metadata"]["annotations"] = {PAUSED_ANNOTATION: "yes"}
    assert await refusal(admin, made) == ""


async def test_who_sends_without_strict_validation_loses_what_is_misspelt(admin: Client):
    """So says the README of deploy/: kubectl sends strictly by itself, other clients may not."""
    made = document(maxReplica=20)
    query = {"dryRun": "All"}
    stored = await admin.call(
        "create", INFERENCE_AUTOSCALERS, namespace=NAMESPACE, body=made, query=query
    )
    assert "maxReplica" not in stored["spec"]
    assert stored["spec"]["maxReplicas"] == 10
