from __future__ import annotations

import shutil

import pytest

from autoscaler.agent.own_node import NodeError, OwnNode
from tests.agent.api_server import make_account
from tests.agent.metadata_server import raw, status

KEY = "inference-autoscaler.dev/notice"


def test_it_is_read_and_written_by_patches_alone(api, node):
    api.annotations["other"] = "kept"
    api.provider_id = "gce://project/zone/name"
    view = node.look()
    assert view.provider_id == "gce://project/zone/name"
    assert view.annotations == {"other": "kept"}
    assert node.annotate({KEY: "x"}).annotations == {"other": "kept", KEY: "x"}
    assert node.annotate({KEY: None}).annotations == {"other": "kept"}
    assert api.patches == [
        {},
        {"metadata": {"annotations": {KEY: "x"}}},
        {"metadata": {"annotations": {KEY: None}}},
    ]
    assert "PartialObjectMetadata" in api.accepts[1]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(403, b'{"message": "no right"}'), "403 no right; grant it"),
        (status(404, b'{"message": "no such node"}'), "--node is to be the name"),
        (status(409, b'{"message": "conflict"}'), "409 conflict; it is tried again"),
        (status(429, b""), "429"),
        (status(500, b"<html>"), "500 '<html>'"),
        (status(503, b"[]"), "503"),
        (status(307, b""), "307"),
        (status(200, b""), "no JSON"),
        (status(200, b"{"), "no JSON"),
        (status(200, b"[]"), "no object with metadata"),
        (status(200, b'{"metadata": []}'), "no object with metadata"),
        (status(200, b"x" * 3_000_000), "more than"),
        (raw(b""), "RemoteDisconnected"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}"), "cut off"),
    ],
)
def test_whatever_the_answer_is_it_is_one_error(api, node, answer, message):
    api.faults.append(answer)
    with pytest.raises(NodeError) as error:
        node.annotate({KEY: "x"})
    assert message in str(error.value)
    assert len(str(error.value)) < 600
    assert node.annotate({KEY: "x"}).annotations == {KEY: "x"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata": {}}',
        b'{"metadata": {"annotations": null}, "spec": null}',
        b'{"metadata": {"annotations": [1]}, "spec": {"providerID": {}}}',
    ],
)
def test_a_node_with_odd_parts_has_none(api, node, body):
    api.faults.append(status(200, body))
    view = node.look()
    assert (view.annotations, view.provider_id) == ({}, "")


def test_a_replaced_token_is_used_at_once(api, node, account):
    api.token = "token-2"
    with pytest.raises(NodeError, match="401 Unauthorized; the service account's token"):
        node.annotate({KEY: "x"})
    (account / "token").write_text("token-2")
    node.annotate({KEY: "x"})


@pytest.mark.usefixtures("api")
def test_a_replaced_certificate_too(node, account, tmp_path):
    whole = (account / "ca.crt").read_text()
    shutil.copy(make_account(tmp_path / "another") / "ca.crt", account / "ca.crt")
    with pytest.raises(NodeError, match="CERTIFICATE_VERIFY_FAILED"):
        node.annotate({KEY: "x"})
    (account / "ca.crt").write_text(whole)
    node.annotate({KEY: "x"})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("token", None),
        ("token", b"\xff\xfe"),
        ("token", b"a\nb"),
        ("ca.crt", None),
        ("ca.crt", b""),
        ("ca.crt", b"no certificate"),
    ],
)
def test_an_account_that_cannot_be_used_is_an_error(node, account, name, content):
    if content is None:
        (account / name).unlink()
    else:
        (account / name).write_bytes(content)
    with pytest.raises(NodeError, match="patch of node spot-1"):
        node.annotate({KEY: "x"})


def test_a_name_is_no_path(api, account):
    with pytest.raises(NodeError, match="404"):
        OwnNode("spot-1/status?x=", server=api.address, account=account).look()
    assert api.patches == []
