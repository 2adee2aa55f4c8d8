"""The Prometheus servers that the daemon may ask: named by who operates it, on its command line.

    --prometheus-server NAME=URL[,token-file=FILE][,ca=FILE][,header=NAME:VALUE][,match=LABEL:VALUE][,dcgm][,history][,plain-http]

A model's document only says which of them, by NAME. It is written by whoever serves the model: with
addresses and token files in it, it could send the daemon, and the daemon's own token, anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from autoscaler.errors import SettingsError
from autoscaler.foreign_text import quoted

CREDENTIALS = Path("/var/run/secrets/inference-autoscaler")
"""The one folder below which token files lie, unless another is named."""
_OPTION = "--prometheus-server"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OUR_LABELS = frozenset({"__name__", "namespace", "pod"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OUR_HEADERS = frozenset({"authorization", "host", "content-length", "transfer-encoding", "cookie"})
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """One server that may be asked for signals."""

    name: str
    """By which documents call it."""
    server_address: str
    """URL without a trailing slash, a name or a password."""
    token_file: Path | None = None
    """Below `credentials`, also where links lead; read again for every query."""
    credentials: Path = CREDENTIALS
    ca_file: Path | None = None
    """Of PEM certificates to trust; None: the system's."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every query, e.g. `X-Scope-OrgID`."""
    matchers: tuple[tuple[str, str], ...] = ()
    """(label, value) that every series asked for must have."""
    dcgm: bool = False
    """Whether it speaks for the GPUs of the cluster."""
    history: bool = False
    """Whether it is asked about the past of models whose pods are read themselves."""


Servers = Mapping[str, PrometheusSettings]
"""By name."""


def read_servers(given: Iterable[str], *, credentials: Path = CREDENTIALS) -> Servers:
    """Read the options of a command line.

    Raises:
        SettingsError: One cannot be worked with, or a name stands twice.
    """
    servers: dict[str, PrometheusSettings] = {}
    for text in given:
        server = _read_server(text, credentials=credentials)
        if server.name in servers:
            raise SettingsError(f"{_OPTION}: {server.name} stands twice; name each server once")
        servers[server.name] = server
    asked = [server.name for server in servers.values() if server.history]
    if len(asked) > 1:
        raise SettingsError(
            f"{_OPTION}: history stands at {' and at '.join(asked)}; write it at one of them"
        )
    return servers


def below(folder: Path, file: Path) -> Path:
    """Return where a file really is, all links followed, if that is below the folder.

    Raises:
        SettingsError: It is not.
    """
    found = (folder / file).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise SettingsError(
            f"the token file {quoted(str(file))} is not below {folder}; mount it there, or name "
            "another folder with --credentials"
        )
    return found


def _read_server(text: str, *, credentials: Path) -> PrometheusSettings:
    """Read one `NAME=URL[,KEY=VALUE]...`."""
    name, sign, rest = text.partition("=")
    if not sign or not _NAME.fullmatch(name):
        raise SettingsError(
            f"{_OPTION} {quoted(_without_password(text))}: write NAME=URL, with a NAME of lower "
            "case letters, digits and '-'"
        )
    address, *extras = rest.split(",")
    token_file: Path | None = None
    ca_file: Path | None = None
    headers: list[tuple[str, str]] = []
    matchers: list[tuple[str, str]] = []
    flags: set[str] = set()
    for extra in extras:
        key, _, value = extra.partition("=")
        if key == "token-file" and value:
            token_file = Path(value)
        elif key == "ca" and value:
            ca_file = Path(value)
        elif key == "header":
            headers.append(_header(name, value))
        elif key == "match":
            matchers.append(_matcher(name, value))
        elif extra in ("dcgm", "history", "plain-http"):
            flags.add(extra)
        else:
            raise SettingsError(
                f"{_OPTION} {name}: {quoted(extra)} is not known; known are token-file=FILE, "
                "ca=FILE, header=NAME:VALUE, match=LABEL:VALUE, dcgm, history and plain-http"
            )
    url = _address(name, address)
    if url.scheme == "http" and "plain-http" not in flags:
        raise SettingsError(
            f"{_OPTION} {name}: {quoted(address)} is not encrypted; write https://, or add "
            "plain-http if that is meant"
        )
    if token_file is not None:
        if url.scheme == "http":
            raise SettingsError(
                f"{_OPTION} {name}: a token would be sent unencrypted to {quoted(address)}; write https://"
            )
        below(credentials, token_file)
    return PrometheusSettings(
        name=name,
        server_address=address.rstrip("/"),
        token_file=token_file,
        credentials=credentials,
        ca_file=ca_file,
        headers=tuple(headers),
        matchers=tuple(matchers),
        dcgm="dcgm" in flags,
        history="history" in flags,
    )


def _address(name: str, address: str) -> SplitResult:
    """Check a URL: a scheme, a host, perhaps a port and the beginning of a path; nothing else."""
    try:
        url = urlsplit(address)
        port_fits = url.port is None or url.port > 0  # reading it checks the range
        host = url.hostname or ""
    except ValueError as error:
        raise SettingsError(
            f"{_OPTION} {name}: {quoted(_without_password(address))} is no URL ({error}); write one "
            "such as https://prometheus.monitoring:9090"
        ) from error
    if "@" in url.netloc:
        raise SettingsError(
            f"{_OPTION} {name}: an address with a name or a password in it, which logs and pages "
            "would show; use token-file=FILE"
        )
    if (
        url.scheme not in ("http", "https")
        or not port_fits
        or not _HOST.fullmatch(host)
        or url.netloc.endswith(":")
        or url.query
        or url.fragment
        or not address.isascii()
        or not address.isprintable()
        or " " in address
    ):
        raise SettingsError(
            f"{_OPTION} {name}: {quoted(address)} is no address of a server; write one such as "
            "https://prometheus.monitoring:9090, with a path prefix if it has one"
        )
    return url


def _without_password(text: str) -> str:
    """Leave out what stands before an @, for a message."""
    return re.sub(r"//[^/]*@", "//…@", text)


def _header(server: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    value = value.strip()
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        raise SettingsError(
            f"{_OPTION} {server}: header={quoted(text)} is no header; write NAME:VALUE in printable "
            "ASCII"
        )
    if name.lower() in _OUR_HEADERS:
        raise SettingsError(f"{_OPTION} {server}: the header {name} is ours; take it away")
    return name, value


def _matcher(server: str, text: str) -> tuple[str, str]:
    label, sign, value = text.partition(":")
    if not sign or not _LABEL.fullmatch(label) or label in _OUR_LABELS:
        raise SettingsError(
            f"{_OPTION} {server}: match={quoted(text)}: write LABEL:VALUE, with a label other than "
            f"{', '.join(sorted(_OUR_LABELS))}"
        )
    return label, value
