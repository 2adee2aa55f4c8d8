"""Whom the daemon asks, and with what: the operator's servers, and a path that is a path."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.errors import SettingsError, SourceError
from autoscaler.settings import SpecError, load_config, metrics_settings, read_servers
from autoscaler.settings.resource import MetricsSection
from autoscaler.settings.servers import CREDENTIALS
from autoscaler.sources.collector.collector import Collector
from autoscaler.sources.collector.feeds import page_request
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.prometheus.client import PrometheusClient
from tests.extent import examples
from tests.sources.servers import read_all, reading
from tests.test_settings import document, write

SECURE = "main=https://prometheus.monitoring:9090"


def test_a_server_with_all_that_it_may_have(tmp_path: Path):
    text = (
        f"{SECURE}/prefix/,token-file=main,ca=/ca.crt,header=X-Scope-OrgID: a b,"
        "match=cluster:eu-1,match=job:v:w,dcgm,history"
    )
    (found,) = read_servers([text], credentials=tmp_path).values()
    assert found.name == "main"
    assert found.server_address == "https://prometheus.monitoring:9090/prefix"
    assert (found.token_file, found.credentials) == (Path("main"), tmp_path)
    assert found.ca_file == Path("/ca.crt")
    assert found.headers == (("X-Scope-OrgID", "a b"),)
    assert found.matchers == (("cluster", "eu-1"), ("job", "v:w"))
    assert (found.dcgm, found.history) == (True, True)


def test_plain_http_is_said():
    (found,) = read_servers(["a=http://p:9090,plain-http"]).values()
    assert (found.server_address, found.dcgm, found.credentials) == (
        "http://p:9090",
        False,
        CREDENTIALS,
    )


def test_one_server_alone_is_asked_for_the_past():
    given = [f"{name}=https://p,history" for name in ("a", "b")]
    with pytest.raises(SettingsError, match="history stands at a and at b; write it at one"):
        read_servers(given)
    assert [each.history for each in read_servers([given[0], "b=https://p"]).values()] == [
        True,
        False,
    ]


REFUSED = {
    # what is given: what the message says
    "https://p:9090": "write NAME=URL",
    "A=https://p": "write NAME=URL",
    "=https://p": "write NAME=URL",
    "a=http://p:9090": "add plain-http",
    "a=http://host:http,plain-http": "is no URL",
    "a=http://h:1:2,plain-http": "is no",
    "a=http://[::1,plain-http": "is no URL",
    "a=https://h:99999": "is no URL",
    "a=https://h:0": "no address of a server",
    "a=https://h:": "no address of a server",
    "a=https://": "no address of a server",
    "a=ftp://h": "no address of a server",
    "a=//h": "no address of a server",
    "a=https://h/?x=1": "no address of a server",
    "a=https://h/#x": "no address of a server",
    "a=https://h h": "no address of a server",
    "a=https://höst": "no address of a server",
    "a=https://h/\r\nX: y": "no address of a server",
    "a=https://user:secret@h": "token-file=FILE",
    "a=https://user@h": "token-file=FILE",
    "a=https://user:secret@h:x": "is no URL",
    "a=https://p,token=x": "'token=x' is not known",
    "a=https://p,token-file=": "is not known",
    "a=https://p,header=X": "is no header",
    "a=https://p,header=X:a\r\nY: b": "is no header",
    "a=https://p,header=X Y:a": "is no header",
    "a=https://p,header=Authorization:Basic x": "is ours",
    "a=https://p,match=pod:x": "other than",
    "a=https://p,match=a-b:x": "LABEL:VALUE",
    "a=https://p,token-file=../../kubernetes.io/serviceaccount/token": "is not below",
    "a=https://p,token-file=/var/run/secrets/kubernetes.io/serviceaccount/token": "is not below",
    "a=http://p,plain-http,token-file=x": "unencrypted",
}


@pytest.mark.parametrize("given_text", REFUSED)
def test_a_server_that_cannot_be_worked_with(given_text: str):
    with pytest.raises(SettingsError) as caught:
        read_servers([given_text])
    assert REFUSED[given_text] in str(caught.value)
    assert "secret" not in str(caught.value).replace("/var/run/secrets/", "")
    assert str(caught.value).isprintable()


def test_a_name_stands_once():
    with pytest.raises(SettingsError, match="main stands twice"):
        read_servers([SECURE, SECURE])


# -- token files


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"first\nsecond\n", "one line"),
        (b"\xff\xfe\x00", "something else"),
        ("tøken".encode(), "something else"),
        (b"a b", "one line"),
        (b"\x1b[31m", "one line"),
        (b"", "one line"),
        (b"\n", "one line"),
    ],
)
async def test_what_is_no_token_is_not_sent_nor_shown(tmp_path: Path, content: bytes, told: str):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SourceError, match=told) as caught:
        headers_of(tmp_path, "token")
    assert caught.value.outcome == ReadOutcome.REFUSED
    assert str(caught.value).isprintable()


def headers_of(folder: Path, file: str) -> dict[str, str]:
    (server,) = read_servers([f"{SECURE},token-file={file}"], credentials=folder).values()
    return PrometheusClient(server)._headers()


def test_a_link_leads_out_of_the_folder_only_where_it_stays_within(tmp_path: Path):
    folder, outside = tmp_path / "credentials", tmp_path / "outside"
    (folder / "..data").mkdir(parents=True)
    (folder / "..data" / "token").write_text("inside\n")
    (folder / "token").symlink_to("..data/token")  # as a mounted Secret is
    outside.write_text("the daemon's own")
    assert headers_of(folder, "token")["Authorization"] == "Bearer inside"
    (server,) = read_servers([f"{SECURE},token-file=token"], credentials=folder).values()
    (folder / "token").unlink()
    (folder / "token").symlink_to(outside)  # turned while the daemon runs
    with pytest.raises(SourceError, match="is not below"):
        PrometheusClient(server)._headers()
    with pytest.raises(SettingsError, match="is not below"):
        headers_of(folder, "token")


def test_a_pipe_is_no_token_file(tmp_path: Path):
    import os

    os.mkfifo(tmp_path / "token")
    with pytest.raises(SourceError, match="is no file"):
        headers_of(tmp_path, "token")


# -- documents name them


def through(server: str) -> dict[str, object]:
    return document(metrics={"source": "Prometheus", "prometheus": {"server": server}})


def test_a_document_may_name_only_what_there_is(tmp_path: Path):
    path = write(tmp_path, through("main"))
    assert load_config(path, servers=("main",)).resources
    assert load_config(path).resources  # it is not known which there are
    with pytest.raises(SpecError) as caught:
        load_config(path, servers=("other",))
    (problem,) = caught.value.problems
    assert "write one of other, or start it with --prometheus-server main=URL" in str(problem)
    with pytest.raises(SpecError, match="it was given none: start it with"):
        load_config(path, servers=())


async def test_a_model_that_names_an_unknown_server_is_unknown_and_asks_nobody(tmp_path: Path):
    (resource,) = load_config(write(tmp_path, through("gone"))).resources
    collector = Collector(now=lambda: 1.0, servers=read_servers([SECURE]))
    collector.set_models([metrics_settings(resource)])
    (feed,) = collector._feeds()
    async with reading() as reader:
        (ended,) = await read_all(feed, reader)
    assert ended.outcome == ReadOutcome.REFUSED
    assert "no Prometheus called gone; it has main" in ended.message


# -- a path is a path


def accepted(path: str) -> bool:
    try:
        MetricsSection.model_validate({"path": path})
    except ValidationError:
        return False
    return True


def expect_own_address(path: str) -> None:
    for ip in ("10.1.2.3", "fd00::7"):
        found = metrics_settings_of(path)
        url = page_request(found, ip=ip, port=8000, deadline_s=1.0).url
        assert (url.scheme, url.host, url.port) == ("http", ip, 8000)
        assert url.user is None
        assert url.raw_path_qs == path.removesuffix("?")
        assert not url.fragment


def metrics_settings_of(path: str) -> object:
    from dataclasses import replace

    from tests.sources.test_collector import settings as pod_settings

    return replace(pod_settings(8000), path=path)


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/",
        "/metrics/",
        "/a/b.c?x=1&y=/z",
        "/@evil.com:80",
        "/a:80",
        "/%2f%2Fevil/x",
        "/..",
        "/../x",
        "/.//".rstrip("/"),
        "/http:x",
        "/a?//evil/",
    ],
)
def test_paths_that_are_accepted_stay_at_the_pod(path: str):
    assert accepted(path)
    expect_own_address(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "metrics",
        "//",
        "//[",
        "//evil:80/x",
        "///x",
        "/a//b",
        "/a b",
        "/a#b",
        "/a\\b",
        "/\\evil",
        "/%",
        "/%2",
        "/%zz",
        "/ä",
        "/a\n",
        "/a\x00",
        "http://evil/",
        "/a?b#c",
        "/[x]",
        "/" + "a" * 2000,
    ],
)
def test_what_is_no_path_is_refused(path: str):
    assert not accepted(path)


PATH_TEXT = st.text(st.sampled_from("/ab.?&=%2fF:@[]#\\ ~'()*+,;!$\n\t\u2044é-_"), max_size=12)


@settings(max_examples=examples(day=60, night=3000))
@given(PATH_TEXT.map(lambda text: "/" + text))
def test_whatever_path_is_accepted_stays_at_the_pod(path: str):
    if accepted(path):
        expect_own_address(path)


def test_an_address_of_a_pod_that_is_none_is_not_asked():
    for ip in ("evil.com", "10.0.0.1:80", "[::1]", "", "10.0.0.1/x"):
        with pytest.raises(SourceError, match="no IP address"):
            page_request(metrics_settings_of("/metrics"), ip=ip, port=1, deadline_s=1.0)
