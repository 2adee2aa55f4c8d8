"""The options of the agent, and its life: recognize the cloud, poll, mark, until a signal.

Exit codes: 0 when it was asked to end, 1 when a part of it ended (the kubelet starts it anew), 2 for an
option or a pod that cannot be worked with.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoscaler import __version__
from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.dialects import DIALECTS
from autoscaler.agent.dialects.contract import (
    METADATA,
    MetadataError,
    MetadataFeed,
    MetadataService,
    Terms,
)
from autoscaler.agent.exchange import Address
from autoscaler.agent.log import Log, log_to
from autoscaler.agent.marking import Marking
from autoscaler.agent.own_node import SERVICE_ACCOUNT, NodeError, NodeView, OwnNode
from autoscaler.agent.polling import Polling, jittered

RECOGNIZE_EVERY_S = 10.0
LEAD_S_MAX = 7_200.0
"""The daemon takes no deadline for one that lies further ahead."""
HELP = """\
Poll the metadata service of this machine (AWS, GCE or Azure) and mark its Node when the machine will be
taken away. One on every spot node: deploy/components/node-agent."""


def main(arguments: Sequence[str], *, program: str = "autoscaler node-agent") -> int:
    """Run the agent; returns the exit code. Wrong options end the process with 2, as argparse does."""
    parser = _parser(program)
    options = parser.parse_args(arguments)
    if not options.node:
        parser.error("which Node is this? give --node, or NODE_NAME in the environment")
    for name in ("token", "ca.crt"):
        if not (options.service_account / name).is_file():
            parser.error(
                f"no file {options.service_account / name}: the agent writes as its service account; "
                "set automountServiceAccountToken, or give --service-account DIR"
            )
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    server = options.api_server or _in_cluster(parser)
    node = OwnNode(options.node, server=server, account=options.service_account)
    return run(options, node, stopping=stopping, log=log_to())


def run(options: Any, node: OwnNode, *, stopping: threading.Event, log: Log) -> int:
    """Until `stopping` is set; returns the exit code."""
    terms = Terms(
        address=options.metadata,
        lead_s=options.asg_lead,
        preemption_lead_s=options.gce_lead,
        maintenance_lead_s=options.gce_maintenance_lead,
    )
    view, service = None, None
    if options.provider != "auto":
        service = DIALECTS[options.provider](terms)
    else:
        view, service = _recognize(terms, node, stopping=stopping, log=log)
    if service is None:
        log("agent.stopped")
        return 0
    log(
        "agent.started",
        version=__version__,
        node=node.name,
        source=service.source,
        metadata=str(terms.address),
        acknowledges=options.acknowledge,
    )
    feeds = service.feeds
    board = NoticeBoard(service.source, [feed.name for feed in feeds], now=time.time)
    marking = Marking(node, board, service, log=log, acknowledges=options.acknowledge)
    if view is not None:
        marking.take_over(view)
    return mark(feeds, board, marking, stopping=stopping, log=log)


def mark(
    feeds: Sequence[MetadataFeed],
    board: NoticeBoard,
    marking: Marking,
    *,
    stopping: threading.Event,
    log: Log,
) -> int:
    """Ask all feeds and keep the Node's mark, until `stopping` is set; returns the exit code."""
    threads = [Polling(feed, board, stopping=stopping, log=log) for feed in feeds]
    for thread in threads:
        thread.start()
    while not stopping.is_set():
        if not all(thread.is_alive() for thread in threads):
            log("agent.broke", dead=[each.name for each in threads if not each.is_alive()])
            return 1
        _wait(board, stopping, marking.step())
    marking.leave()
    log("agent.stopped")
    return 0


def _wait(board: NoticeBoard, stopping: threading.Event, seconds: float) -> None:
    """For a change or so many seconds. A signal is heard within a second."""
    until = time.monotonic() + seconds
    while not stopping.is_set() and (left := until - time.monotonic()) > 0:
        if board.changed.wait(min(left, 1.0)):
            return


def _recognize(
    terms: Terms, node: OwnNode, *, stopping: threading.Event, log: Log
) -> tuple[NodeView | None, MetadataService | None]:
    """By the Node's `spec.providerID`, else by who answers; again and again until one does."""
    services = [dialect(terms) for dialect in DIALECTS.values()]
    told = False
    while not stopping.is_set():
        found, view = [], None
        try:
            view = node.look()
        except NodeError as error:
            found.append(str(error))
        for service in services:
            if view is not None and view.provider_id.startswith(service.provider_prefix):
                return view, service
        for service in services:
            try:
                if service.recognized():
                    return view, service
            except MetadataError as error:
                found.append(str(error))
        if not told:
            log("provider.unknown", node=node.name, found=found)
            told = True
        stopping.wait(jittered(RECOGNIZE_EVERY_S))
    return None, None


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=HELP, allow_abbrev=False)
    add = parser.add_argument
    add(
        "--node",
        default=os.environ.get("NODE_NAME", ""),
        metavar="NAME",
        help="Name of this machine's Node; by default the environment's NODE_NAME.",
    )
    add(
        "--provider",
        choices=["auto", *DIALECTS],
        default="auto",
        help="Whose metadata service; auto: by the Node's providerID, else by who answers.",
    )
    add(
        "--asg-lead",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="AWS: from the Auto Scaling group's decision to end the machine until it does; the time-out "
        "of your lifecycle hook. Default 120.",
    )
    add(
        "--gce-lead",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="GCE: from preemption to the end; 120 where preemptionNoticeDuration is set. Default 30.",
    )
    add(
        "--gce-maintenance-lead",
        type=_seconds,
        default=3600.0,
        metavar="SECONDS",
        help="GCE: from the announcement that maintenance stops the machine until it does. Default 3600.",
    )
    add(
        "--acknowledge",
        action="store_true",
        help="Azure: let it begin before the deadline once this Node carries the annotation "
        "inference-autoscaler.dev/drained, later than the notice. Off by default.",
    )
    add(
        "--metadata",
        type=_address,
        default=METADATA,
        metavar="HOST:PORT",
        help="Where the metadata service is; for tests.",
    )
    add(
        "--api-server",
        type=_address,
        metavar="HOST:PORT",
        help="By default the one that the cluster tells its pods.",
    )
    add(
        "--service-account",
        type=Path,
        default=SERVICE_ACCOUNT,
        metavar="DIR",
        help="Where its token and ca.crt are mounted.",
    )
    add("--version", action="version", version=f"autoscaler, version {__version__}")
    return parser


def _in_cluster(parser: argparse.ArgumentParser) -> Address:
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "")
    try:
        return _address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except argparse.ArgumentTypeError:
        parser.error(
            "where is the API server? KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT name none, so "
            "this is no pod; give --api-server HOST:PORT"
        )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= LEAD_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: write seconds, from 0 to {LEAD_S_MAX:g}")
    return seconds


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    usable = host.isprintable() and not set(host) & set("/ @?#")
    if not host or not usable or not (port.isascii() and port.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}: write HOST:PORT")
    if not 0 < int(port[:6]) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such port")
    return Address(host, int(port))
