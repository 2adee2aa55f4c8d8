"""The client: every answer that is none becomes a message that says what, where and what to do."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from autoscaler.errors import SettingsError
from autoscaler.kube.api.access import in_cluster, load_access
from autoscaler.kube.api.client import ApiError, Client, connect
from autoscaler.kube.api.resources import DEPLOYMENTS, NODES, PODS, REPLICA_SETS
from tests.kube.api_server import (
    ScriptedServer,
    answer,
    hang,
    kubeconfig,
    listing,
    page,
    refuse,
    watching,
)

NODE = {"kind": "Node", "metadata": {"name": "n", "resourceVersion": "7"}}


async def test_a_call_is_plain_json_both_ways(server: ScriptedServer, client: Client):
    server.calls.append(answer({"kind": "Scale", "spec": {"replicas": 3}}))
    got = await client.call(
        "update",
        DEPLOYMENTS,
        namespace="serving",
        name="llama",
        subresource="scale",
        body={"spec": {"replicas": 3}},
    )
    assert got == {"kind": "Scale", "spec": {"replicas": 3}}
    (request,) = server.requests
    assert request.method == "PUT"
    assert request.path == "/apis/apps/v1/namespaces/serving/deployments/llama/scale"
    assert request.body == {"spec": {"replicas": 3}}
    assert request.content_type == "application/json"


async def test_of_replica_sets_no_more_than_the_metadata_is_asked_for(
    server: ScriptedServer, client: Client
):
    """Five hundred whole objects of up to 1.5 MB each were held against a limit of 1 GiB."""
    server.always |= {"list": listing([]), "watch": watching()}
    for resource in (REPLICA_SETS, PODS):
        await client.call("list", resource, namespace="a", query={"limit": "1"})
        async with client.stream(
            resource, namespace="a", query={"watch": "true"}, silence_s=5
        ) as chunks:
            assert [chunk async for chunk in chunks] == []
    accepted = [request.accept for request in server.requests]
    kinds = ["PartialObjectMetadataList", "PartialObjectMetadata"]
    assert accepted[:2] == [
        f"application/json;as={kind};g=meta.k8s.io;v=v1,application/json" for kind in kinds
    ]
    assert accepted[2:] == ["application/json"] * 2
    assert {request.accept_encoding for request in server.requests} == {"identity"}


async def test_check_asks_something_small(server: ScriptedServer, client: Client):
    server.always["list"] = listing([])
    await client.check()
    server.always["list"] = refuse(403, "Forbidden", "no")
    with pytest.raises(ApiError, match="lacks the verb `list` on `nodes`"):
        await client.check()
    assert server.requests[0].query == {"limit": "1"}


def test_paths_escape_what_a_name_may_not_hold():
    assert NODES.path(name="a/b?c") == "/api/v1/nodes/a%2Fb%3Fc"
    assert PODS.path() == "/api/v1/pods"
    assert NODES.path(namespace="ignored") == "/api/v1/nodes"


@pytest.mark.parametrize(
    ("step", "status", "said"),
    [
        pytest.param(
            refuse(403, "Forbidden", 'nodes "n" is forbidden: User "u" cannot patch'),
            403,
            [
                "patch nodes n at http://127",
                'User "u" cannot patch',
                "lacks the verb `patch` on `nodes`",
            ],
            id="403 names the right that is missing",
        ),
        pytest.param(
            refuse(404, "NotFound", 'nodes "n" not found'),
            404,
            ['nodes "n" not found', "check that it exists"],
            id="404",
        ),
        pytest.param(
            page(), 502, ["502 Bad Gateway with text/html", "502 Bad Gateway nginx"], id="html 502"
        ),
        pytest.param(
            page(200),
            200,
            ["that is no answer", "something between here and the API server"],
            id="html 200",
        ),
        pytest.param(answer([1, 2]), 200, ["that is no answer"], id="json, but no object"),
        pytest.param(answer({}, status=500), 500, ["500", "tried again"], id="500 with no message"),
        pytest.param(
            refuse(401, "Unauthorized", "Unauthorized"),
            401,
            ["credentials of the kubeconfig"],
            id="401",
        ),
    ],
)
async def test_what_is_no_answer_is_raised_with_its_story(
    server: ScriptedServer, client: Client, step: Any, status: int, said: list[str]
):
    """kubernetes_asyncio raises nothing here: it hands the raw response out."""
    server.calls.append(step)
    with pytest.raises(ApiError) as caught:
        await client.call("patch", NODES, name="n", body={})
    assert caught.value.status == status
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize("verb", ["get", "list"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "Status", "status": "Success"},
        {"metadata": None},
        {"metadata": {"resourceVersion": ""}, "items": []},
        {"items": []},
    ],
)
async def test_an_object_of_somebody_else_is_not_taken_for_what_was_read(
    server: ScriptedServer, client: Client, verb: str, body: Any
):
    """As a list it would be a cluster without pods, as a scale a write without a guard."""
    server.always["call"] = answer(body)
    with pytest.raises(ApiError, match="that is no answer"):
        await client.call(verb, NODES, name="n" if verb == "get" else "")


async def test_a_list_without_any_objects_is_one(server: ScriptedServer, client: Client):
    told = {"kind": "NodeList", "metadata": {"resourceVersion": "7"}, "items": None}
    server.always["call"] = answer(told)
    assert await client.call("list", NODES) == told


async def test_causes_and_retry_after_are_read(server: ScriptedServer, client: Client):
    causes = [{"reason": "DisruptionBudget", "message": "The disruption budget b needs 2"}]
    server.calls.append(
        refuse(429, "TooManyRequests", "Cannot evict", headers={"Retry-After": "10"}, causes=causes)
    )
    with pytest.raises(ApiError) as caught:
        await client.call("create", PODS, namespace="s", name="p", subresource="eviction", body={})
    assert caught.value.causes == ("The disruption budget b needs 2",)
    assert caught.value.retry_after_s == 10.0
    assert caught.value.status == 429


async def test_a_server_that_never_answers_is_given_up(server: ScriptedServer, client: Client):
    """The library's own default waits for ever."""
    server.calls.append(hang())
    with pytest.raises(
        ApiError, match=r"no answer within 0\.1 s; check that the API server runs"
    ) as it:
        await client.call("get", NODES, name="n", timeout_s=0.1)
    assert it.value.status == 0


async def test_an_unreachable_server_is_named_with_where_its_address_came_from(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    path = kubeconfig(tmp_path / "kubeconfig", url)
    async with await connect(str(path)) as client:
        with pytest.raises(ApiError) as caught:
            await client.call("list", NODES)
    for part in (f"list nodes at {url}", "Connect call failed", f"the kubeconfig {path}"):
        assert part in str(caught.value)


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Behind a corporate proxy the cluster in a box would be out of reach."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.calls.append(answer(NODE))
    async with await server.client(tmp_path) as client:
        assert await client.call("get", NODES, name="n") == NODE


# -- where the cluster is


async def test_the_kubeconfig_given_beats_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = kubeconfig(tmp_path / "given", "http://127.0.0.1:1")
    named = kubeconfig(tmp_path / "named", "http://127.0.0.1:2")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{named}")
    assert (await load_access(str(given))).server == "http://127.0.0.1:1"
    assert (await load_access()).server == "http://127.0.0.1:2"


async def test_without_any_configuration_it_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        SettingsError, match=r"no --kubeconfig, no KUBECONFIG .* no service account"
    ):
        await load_access()
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", "http://127.0.0.1:3")
    assert (await load_access()).server == "http://127.0.0.1:3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("{", "cannot be used", id="no yaml"),
        pytest.param("[]", "cannot be used", id="a list"),
        pytest.param("", "cannot be used", id="empty"),
        pytest.param("clusters: []\ncontexts: []\nusers: []\n", "current-context", id="no context"),
        pytest.param(
            "current-context: x\ncontexts: [{name: y, context: {cluster: c}}]\n"
            "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n",
            "current-context",
            id="a context that is not there",
        ),
        pytest.param(
            "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
            "users: [{name: u, user: {client-certificate: /nowhere/c.crt}}]\n"
            "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n",
            "/nowhere/c.crt",
            id="a file that is not there",
        ),
    ],
)
async def test_a_broken_kubeconfig_is_one_message(tmp_path: Path, text: str, said: str):
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        await load_access(str(path))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


async def test_a_kubeconfig_that_is_not_there(tmp_path: Path):
    with pytest.raises(SettingsError, match="there is no kubeconfig"):
        await load_access(str(tmp_path / "nowhere"))


# -- tokens


async def test_a_token_is_sent_and_its_file_read_again_when_it_is_not_accepted(
    server: ScriptedServer, tmp_path: Path
):
    token = tmp_path / "token"
    token.write_text("one\n")
    path = kubeconfig(tmp_path / "kubeconfig", server.url, user={"tokenFile": str(token)})
    async with await connect(str(path)) as client:
        server.calls += [answer(NODE), refuse(401, "Unauthorized", "expired"), answer(NODE)]
        await client.call("get", NODES, name="n")
        token.write_text("two\n")
        client._access._renewed_at -= 11  # the last reading is older than the pause between two
        assert await client.call("get", NODES, name="n") == NODE
    assert [r.authorization for r in server.requests] == ["Bearer one", "Bearer one", "Bearer two"]


async def test_a_token_file_is_read_again_each_minute(server: ScriptedServer, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("one")
    path = kubeconfig(tmp_path / "kubeconfig", server.url, user={"tokenFile": str(token)})
    async with await connect(str(path)) as client:
        server.always["call"] = answer(NODE)
        token.write_text("two")
        await client.call("get", NODES, name="n")
        client._access._renewed_at -= 61
        await client.call("get", NODES, name="n")
        token.unlink()
        client._access._renewed_at -= 61
        await client.call("get", NODES, name="n")
        assert [r.authorization[-3:] for r in server.requests] == ["one", "two", "two"]
        server.always["call"] = refuse(401, "Unauthorized", "no")
        with pytest.raises(ApiError, match=r"the last attempt to renew them failed: .*token"):
            await client.call("get", NODES, name="n")


async def test_a_revoked_token_is_not_read_again_for_every_call(
    server: ScriptedServer, tmp_path: Path
):
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "plugged"},
    }
    (tmp_path / "credential").write_text(json.dumps(credential))
    path = kubeconfig(
        tmp_path / "kubeconfig",
        server.url,
        user={
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "sh",
                "args": [
                    "-c",
                    f"echo run >> {tmp_path}/runs; cat {tmp_path}/credential",
                ],
            }
        },
    )
    async with await connect(str(path)) as client:
        server.always["call"] = refuse(401, "Unauthorized", "no")
        for _ in range(5):
            with pytest.raises(ApiError):
                await client.call("get", NODES, name="n")
    assert {r.authorization for r in server.requests} == {"Bearer plugged"}
    assert len(server.requests) == 5
    assert (tmp_path / "runs").read_text().count("run") == 1


async def test_the_service_account_is_used_in_a_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(SettingsError, match="mount its token"):
        await in_cluster(tmp_path)
    (tmp_path / "token").write_text("first")
    (tmp_path / "ca.crt").write_text("certificate")
    access = await in_cluster(tmp_path)
    assert access.server == "https://10.96.0.1:443"
    assert access.configuration.ssl_ca_cert == str(tmp_path / "ca.crt")
    assert not access.loopback
    (tmp_path / "token").write_text("second")
    await access.refresh()
    assert access.configuration.api_key == {"BearerToken": "Bearer first"}, "not due yet"
    access._renewed_at -= 61
    await access.refresh()
    assert access.configuration.api_key == {"BearerToken": "Bearer second"}
    (tmp_path / "token").write_text("")
    access._renewed_at -= 61
    await access.refresh()
    assert access.configuration.api_key == {"BearerToken": "Bearer second"}
    assert "is empty" in access.problem
