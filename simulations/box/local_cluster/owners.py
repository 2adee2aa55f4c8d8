"""Whose a Deployment's `spec.replicas` are: of managedFields the part that autoscalers look at, as 1.36 has it.

Other fields have no owners here. A write of the `scale` subresource has no time, on purpose: there it has none either.
"""

from __future__ import annotations

from simulations.box.local_cluster.objects import Object, timestamp

_CONTROLLER = "kube-controller-manager"


def with_replicas_owner(
    before: Object | None, obj: Object, *, manager: str, subresource: str, at: float
) -> Object:
    """Return a Deployment with who writes it as the owner of its replicas, where their number is another than before.

    Args:
        before: As it was; None: it is made now, template and all.
        obj: As it is to be.
        manager: Name of the field manager.
        subresource: Through which it is written; empty: the object itself.
        at: Now, in seconds.
    """
    fields: Object = {"f:replicas": {}}
    if before is None:
        fields["f:template"] = {}
    elif before["spec"].get("replicas") == obj["spec"].get("replicas"):
        return obj
    entry: Object = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": fields},
    }
    if subresource:
        entry["subresource"] = subresource
    else:
        entry["time"] = timestamp(at)
    # Its controller looks at what is asked for at once, and notes that in the status.
    status = {
        "manager": _CONTROLLER,
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": timestamp(at),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {"f:observedGeneration": {}}},
        "subresource": "status",
    }
    kept = []
    for each in obj["metadata"].get("managedFields") or []:
        spec = {**each["fieldsV1"].get("f:spec", {})}
        spec.pop("f:replicas", None)
        if spec:
            kept.append({**each, "fieldsV1": {"f:spec": spec}})
    metadata = {**obj["metadata"], "managedFields": [*kept, entry, status]}
    return {**obj, "metadata": metadata}
