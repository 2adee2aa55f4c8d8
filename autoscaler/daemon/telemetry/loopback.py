"""Whether a request to a loopback address was meant for one.

A web page may let its own name be resolved to 127.0.0.1 and have the browser of whoever has it open ask there,
by that name (DNS rebinding). The name stands in the `Host` header: where we listen for this machine alone,
only this machine's own names are answered.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from autoscaler.foreign_text import quoted

_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]{0,5})?")


def is_loopback(host: str) -> bool:
    """Whether this is a name or an address of this machine alone, without a port or brackets."""
    name = host.lower().removesuffix(".")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refusal(headers: Sequence[str]) -> str:
    """Why a request with these `Host` headers is not answered, for people; empty: it is."""
    found = _AUTHORITY.fullmatch(headers[0]) if len(headers) == 1 else None
    if found is not None and is_loopback(found["six"] or found["name"]):
        return ""
    asked = quoted(headers[0], limit=80) if headers else "nobody"
    return f"asked for {asked}; this is for 127.0.0.1, [::1] and localhost alone"
