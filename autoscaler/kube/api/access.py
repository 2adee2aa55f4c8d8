"""Who we are and where the API server is: kubeconfig or service account, and tokens kept fresh.

kubernetes_asyncio reads a kubeconfig's `tokenFile` and runs its exec plugin once, at the start; a
daemon outlives both. Here they are read again when they are due, and at once after a 401.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from autoscaler.errors import SettingsError
from autoscaler.foreign_text import shown

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ReadToken: TypeAlias = Callable[[], Awaitable[str | None]]
RENEW_EVERY_S = 60.0
RENEW_PAUSE_S = 10.0
"""After a 401 or a failed renewal: not sooner again, lest a revoked token spin an exec plugin."""


@dataclass(slots=True, kw_only=True)
class Access:
    """A configuration of kubernetes_asyncio, and what keeps its token fresh."""

    configuration: Any
    origin: str
    """Where it came from, for messages."""
    read_token: ReadToken | None = None
    """Reads the token again; None: it cannot be renewed (a client certificate, a plain token)."""
    problem: str = ""
    """Why the last renewal failed; empty: it did not."""
    authorities_problem: str = ""
    """Why the certificates that are trusted could not be read anew; empty: they could, or need not be."""
    _authorities: bytes = b""
    """What the file of certificates held when it was last read."""
    _authorities_at: float = field(default=float("-inf"))
    _renewed_at: float = field(default=float("-inf"))
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def server(self) -> str:
        """Address of the API server, without a path's trailing slash."""
        return str(self.configuration.host)

    @property
    def loopback(self) -> bool:
        """Whether the API server is on this machine and reached directly."""
        host = urlsplit(self.server).hostname or ""
        if self.configuration.proxy:
            return False
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    async def renew_authorities(self) -> bool:
        """After a refused certificate: whether the file of those to trust holds others than before.

        A rotated authority is not told: the kubelet replaces the file, and each new connection fails.
        """
        now = asyncio.get_running_loop().time()
        file = self.configuration.ssl_ca_cert
        if not file or now - self._authorities_at < RENEW_PAUSE_S:
            return False
        self._authorities_at = now
        before = self._authorities
        self._read_authorities()
        return self._authorities != before

    def distrust(self, problem: str) -> None:
        """The certificates that were read anew cannot be used; they are read again later."""
        self.authorities_problem = problem
        self._authorities = b""

    def _read_authorities(self) -> None:
        file = self.configuration.ssl_ca_cert
        if not file:
            return
        try:
            self._authorities = Path(file).read_bytes()
            self.authorities_problem = ""
        except OSError as error:
            self.authorities_problem = shown(f"{file}: {error.strerror or error}")

    async def refresh(self, _configuration: Any = None) -> None:
        """Before each call: read the token again when it is due. The hook of kubernetes_asyncio."""
        if self._age_s() >= RENEW_EVERY_S:
            await self._read(older_than_s=RENEW_EVERY_S)

    async def renew(self, rejected: str | None) -> bool:
        """After a 401: read the token again at once; whether it is another than that rejected."""
        await self._read(older_than_s=RENEW_PAUSE_S)
        return self.token != rejected

    @property
    def token(self) -> str | None:
        """The Authorization header that goes with each call; None: there is none."""
        token: str | None = self.configuration.api_key.get("BearerToken")
        return token

    def _age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._renewed_at

    async def _read(self, *, older_than_s: float) -> None:
        if self.read_token is None:
            return
        async with self._lock:
            if self._age_s() >= older_than_s:
                await self._read_once(self.read_token)

    def _fail(self, problem: str, *, at: float) -> None:
        """The old token may well hold: the server decides. It is read again after a pause."""
        self.problem = problem
        self._renewed_at = at - RENEW_EVERY_S + RENEW_PAUSE_S

    async def _read_once(self, read_token: ReadToken) -> None:
        now = asyncio.get_running_loop().time()
        try:
            token = await read_token()
        except Exception as error:  # noqa: BLE001  files and programs of others raise anything: no token
            self._fail(shown(error), at=now)
            return
        if token and not _is_header(token.strip()):
            self._fail(
                "the token holds what no header may: more than one line, or no ASCII", at=now
            )
            return
        self.problem = ""
        self._renewed_at = now
        if token:
            self.configuration.api_key["BearerToken"] = token.strip()


def _is_header(text: str) -> bool:
    """Whether a text can be sent as a header: printable ASCII on one line."""
    return text.isascii() and text.isprintable()


async def load_access(kubeconfig: str | None = None, *, context: str | None = None) -> Access:
    """Find the configuration as kubectl does; raises SettingsError, saying where was looked."""
    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    if named:
        return await _from_kubeconfig(named, context=context)
    if is_pod(kubeconfig, context=context):
        return await in_cluster()
    usual = Path.home() / ".kube" / "config"
    if usual.is_file():
        return await _from_kubeconfig(str(usual), context=context)
    raise SettingsError(
        "no cluster is configured: there is no --kubeconfig, no KUBECONFIG in the environment, no "
        f"service account (this is no pod) and no {usual}; name one"
    )


def is_pod(kubeconfig: str | None = None, *, context: str | None = None) -> bool:
    """Whether this process is a pod of the cluster that it works on: its service account is what it uses."""
    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    return not named and context is None and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def pod_namespace(folder: Path = SERVICE_ACCOUNT) -> str:
    """The namespace of this pod, as it is mounted beside its token; empty: it is not said."""
    try:
        return (folder / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


async def in_cluster(folder: Path = SERVICE_ACCOUNT) -> Access:
    """The pod's service account; its token file is replaced by the kubelet and read every minute."""
    from kubernetes_asyncio import config  # noqa: PLC0415  see client.connect
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415

    configuration = Configuration()
    token_file = folder / "token"
    try:
        config.load_incluster_config(  # type: ignore[no-untyped-call]  # untyped
            client_configuration=configuration,
            try_refresh_token=False,
            token_filename=str(token_file),
            cert_filename=str(folder / "ca.crt"),
        )
    except (config.ConfigException, OSError) as error:
        raise SettingsError(
            f"the service account in {folder} cannot be used: {error}; mount its token, or name a "
            "kubeconfig"
        ) from error

    async def read_token() -> str:
        text = token_file.read_text(encoding="utf-8").strip()
        if not text:
            raise ValueError(f"{token_file} is empty")
        return f"Bearer {text}"

    return await _prepared(
        Access(
            configuration=configuration,
            origin=f"the service account in {folder}",
            read_token=read_token,
        )
    )


async def _from_kubeconfig(named: str, *, context: str | None) -> Access:
    from kubernetes_asyncio import config  # noqa: PLC0415  see client.connect
    from kubernetes_asyncio.client import Configuration  # noqa: PLC0415

    paths = _files(named)
    if not paths:
        raise SettingsError(f"there is no kubeconfig {named}; name one that exists")
    configuration = Configuration()
    try:
        # persist_config would write a renewed OIDC token back into the user's file; it calls its
        # own writer with an argument too many (36.1.0), and a daemon has no business there
        loader = await config.load_kube_config(
            config_file=os.pathsep.join(map(str, paths)),
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
    except Exception as error:  # a loader of untyped YAML raises anything: all of it is a bad file
        raise SettingsError(
            f"the kubeconfig {named} cannot be used: {str(error) or type(error).__name__}; check its "
            f"{f'context {context}' if context else 'current-context'}, cluster and user"
        ) from error

    async def read_token() -> str | None:
        await loader._load_authentication()  # noqa: SLF001  the one entry that knows every kind
        return getattr(loader, "token", None)

    origin = f"the kubeconfig {named}"
    renewable = _renews(loader)
    return await _prepared(
        Access(
            configuration=configuration,
            origin=origin,
            read_token=read_token if renewable else None,
        )
    )


def _files(named: str) -> list[Path]:
    """Those that exist of a list of paths, as KUBECONFIG may be one."""
    paths = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    return [path for path in paths if path.is_file()]


def _renews(loader: Any) -> bool:
    user = loader._user.value if loader._user is not None else {}  # noqa: SLF001  has no reader
    return bool({"exec", "tokenFile", "auth-provider"} & set(user or {}))


async def _prepared(access: Access) -> Access:
    configuration = access.configuration
    configuration.client_side_validation = False
    configuration.refresh_api_key_hook = access.refresh
    token = configuration.api_key.get("BearerToken")
    if token:
        token = configuration.api_key["BearerToken"] = token.strip()  # files end in a newline
        if not _is_header(token):
            raise SettingsError(
                f"the token of {access.origin} holds what no header may (more than one line, or no "
                "ASCII); write it anew"
            )
    access._read_authorities()  # noqa: SLF001  as they are now, for what comes after
    access._renewed_at = asyncio.get_running_loop().time()  # noqa: SLF001  it was read just now
    return access
