"""The rules that span fields, as an API server checks them when a resource is written: in CEL.

They say what `rules.py` and `metrics_rules.py` say, with the same words for what to write; what CEL cannot say is
left to the daemon, which refuses the resource and says so in its status: whether a time zone exists, a
certificate can be read, a Prometheus is one that the daemon was given, a target is another model's, and how the
pause annotation is spelt (CEL sees no annotations). A rule runs after defaults are filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

CelRule: TypeAlias = dict[str, str]

_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_WRITE_TIME = 'write hours and minutes in quotes, from "00:00" to "24:00"'


def _at_most_max(field: str) -> CelRule:
    # Without the two numbers: a server takes the text of a number for one of any length, which costs too much.
    return {
        "rule": f"self.{field} <= self.maxReplicas",
        "message": "above maxReplicas; write at most as many, or raise maxReplicas",
        "fieldPath": f".{field}",
    }


CEL_RULES: Mapping[str, tuple[CelRule, ...]] = {
    "spec": (
        _at_most_max("minReplicas"),
        _at_most_max("warmFloor.replicas"),
        {
            "rule": "!has(self.warmFloor.schedules) || "
            "self.warmFloor.schedules.all(each, each.replicas <= self.maxReplicas)",
            "message": "a schedule above maxReplicas; write at most as many, or raise maxReplicas",
            "fieldPath": ".warmFloor.schedules",
        },
        {
            "rule": "!has(self.warmFloor.capacityType) || "
            "self.pools.exists(pool, pool.capacityType == self.warmFloor.capacityType)",
            "messageExpression": "'no pool has the capacityType ' + self.warmFloor.capacityType + "
            "'; write one that a pool has, or add such a pool'",
            "message": "no pool has this capacityType; write one that a pool has, or add such a pool",
            "fieldPath": ".warmFloor.capacityType",
        },
        {
            "rule": "self.warmFloor.ramp != 'Auto' || self.forecast.mode != 'Off'",
            "message": "Auto, where spec.forecast.mode is Off and the load is not remembered; "
            "write forecast: {mode: Auto}, or ramp: Off",
            "fieldPath": ".warmFloor.ramp",
        },
    ),
    "spec.warmFloor.schedules[]": (
        {
            "rule": "self.from != '24:00'",
            "message": 'from is "24:00"; write "00:00", of the next day',
            "fieldPath": ".from",
        },
        {
            "rule": f"self.from == '24:00' || self.from.matches('{_TIME}')",
            "message": _WRITE_TIME,
            "fieldPath": ".from",
        },
        {
            "rule": f"self.to == '24:00' || self.to.matches('{_TIME}')",
            "message": _WRITE_TIME,
            "fieldPath": ".to",
        },
        {
            "rule": "self.from != self.to",
            "message": "to is also where it begins; write another time; a whole day is from "
            '"00:00" to "24:00"',
            "fieldPath": ".to",
        },
    ),
    "spec.metrics": (
        {
            "rule": "self.source != 'Prometheus' || has(self.prometheus)",
            "message": "nothing, with source Prometheus; write prometheus: {server: NAME}, a server that the "
            "daemon is given (--prometheus-server NAME=URL)",
            "fieldPath": ".prometheus",
        },
        {
            "rule": "!has(self.port) || !has(self.ports)",
            "message": "ports beside port; write one of them: ports has all of a pod's pages",
            "fieldPath": ".ports",
        },
        {
            "rule": "!has(self.tls) || self.scheme == 'HTTPS'",
            "message": "TLS settings, with scheme HTTP; write scheme: HTTPS, or take tls away",
            "fieldPath": ".tls",
        },
    ),
    "spec.metrics.tls": (
        {
            "rule": "!self.insecureSkipVerify || self.ca == ''",
            "message": "true, beside certificates to trust; write one of them",
            "fieldPath": ".insecureSkipVerify",
        },
    ),
    "spec.metrics.prometheus.matchers": (
        {
            "rule": "self.all(label, !(label in ['__name__', 'namespace', 'pod']))",
            "message": "a label that is asked for anyway (__name__, namespace, pod); take it away",
        },
        {
            "rule": "self.all(label, size(label) <= 128 && label.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))",
            "message": "write labels of at most 128 letters, digits and '_', not beginning with a digit",
        },
    ),
}
"""By the place of the object that a rule looks at; `[]` is each entry of a list."""
