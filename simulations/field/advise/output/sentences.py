"""Advice in sentences: what would be saved, whether to believe it, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from simulations.field.advise.figures import Breach, Comparison
from simulations.field.advise.output.advice import (
    BELIEVED_RATIO,
    EQUAL_RATIO,
    MONTH_H,
    ROUGH_RATIO,
    Advice,
)
from simulations.results.text import percent_text

SHOWN_STRETCHES = 4
JOIN_S = 300
"""Breached minutes closer than this are told as one stretch."""
NAMES = {
    "requests": "requests",
    "replicas_mean": "replicas",
    "prompt_tokens_mean": "prompt tokens",
    "output_tokens_mean": "answer tokens",
    "ttft_mean": "TTFT mean",
    "ttft_p95": "TTFT p95",
    "tpot_mean": "TPOT mean",
    "tpot_p95": "TPOT p95",
    "e2e_mean": "E2E mean",
    "e2e_p95": "E2E p95",
    "running_mean": "running",
    "waiting_mean": "waiting",
}


def verdict_text(advice: Advice) -> str:
    """What changing over would bring, in one sentence that does not flatter."""
    text = _verdict_alone(advice)
    error = advice.error_max
    if advice.saving_usd > 0 and error is not None and error > ROUGH_RATIO:
        return f"on paper: {text} But see below: the replay is not close to the record."
    return text


def _verdict_alone(advice: Advice) -> str:
    saving, ratio = advice.saving_usd, abs(advice.saving_ratio)
    now, ours = advice.now.attainment, advice.ours.attainment
    attained = f"{percent_text(ours)} of requests attained against {percent_text(now)} now"
    money = f"${abs(saving):,.2f} of ${advice.now.cost_usd:,.2f} ({100 * ratio:.0f} %"
    if advice.hours > 0:
        money += f"; ${abs(saving) * MONTH_H / advice.hours:,.0f} a month at this rate"
    money += ")"
    worse, better = now - ours > EQUAL_RATIO, ours - now > EQUAL_RATIO
    if ratio < 0.01:
        if worse:
            return f"nothing to save, and less served: {attained}. Stay with what you have."
        return f"costs the same; {attained}." + (
            "" if better else " Nothing to gain on this traffic."
        )
    if saving > 0:
        if worse and ours < advice.attainment_ratio:
            return f"cheaper by {money}, but by serving less: {attained}. That is no saving."
        return f"saves {money}, with {attained}."
    if better:
        return f"costs more: {money}; for that, {attained}."
    return f"costs more: {money}, with {attained}. Stay with what you have."


def trust_text(advice: Advice) -> str:
    """Whether the replay may be believed, from its error on what really happened."""
    error = advice.error_max
    if error is None:
        return "unchecked: this Prometheus has no latency histograms of vLLM to hold the replay against"
    size = f"mean latencies within {100 * error:.0f} %"
    if error <= BELIEVED_RATIO:
        return f"fair: {size} of the record, as close as a GPU is to itself from day to day"
    if error <= ROUGH_RATIO:
        return f"rough: {size} of the record; take the saving as a direction"
    return (
        f"poor: a mean latency is off by {100 * error:.0f} %, so this profile is not your engine. "
        "Nothing here can be relied on before `autoscaler calibrate` has made one: vLLM's metrics tell neither the GPU nor --max-num-seqs"
    )


def comparison_text(compared: Comparison) -> str:
    """`TTFT mean 0.212 s, recorded 0.251 s (-16 %)`."""
    name = NAMES[compared.name]
    error = "" if compared.error is None else f" ({100 * compared.error:+.0f} %)"
    replayed, recorded = (
        quantity_text(v, compared) for v in (compared.replayed, compared.recorded)
    )
    return f"{name} {replayed}, recorded {recorded}{error}"


def quantity_text(value: float | None, compared: Comparison) -> str:
    """With its unit."""
    if value is None:
        return "unknown"
    if compared.name == "requests" or "tokens" in compared.name:
        return f"{value:,.0f}"
    if compared.name.startswith("tpot"):
        return f"{1000 * value:.1f} ms"
    return f"{value:.3f} s" if compared.name.startswith(("ttft", "e2e")) else f"{value:.2f}"


def breaches_text(breaches: Sequence[Breach], which: int) -> str:
    """Breached minutes as stretches, the worst first: `Tue 24 14:03 to 14:21 (62 % met)`."""
    if not breaches:
        return "none"
    joined: list[list[Breach]] = []
    for breach in breaches:
        if joined and breach.at - joined[-1][-1].at <= JOIN_S:
            joined[-1].append(breach)
        else:
            joined.append([breach])
    ranked = sorted(joined, key=lambda stretch: _missed(stretch, which), reverse=True)
    shown = [_stretch(stretch, which) for stretch in ranked[:SHOWN_STRETCHES]]
    more = len(ranked) - len(shown)
    rest = f", and {more} more" if more else ""
    return f"{len(breaches)} minutes: {', '.join(shown)}{rest}"


def _missed(stretch: Sequence[Breach], which: int) -> float:
    return sum(breach.requests * (1.0 - breach.shares[which]) for breach in stretch)


def _stretch(stretch: Sequence[Breach], which: int) -> str:
    first, last = (datetime.fromtimestamp(stretch[n].at, UTC) for n in (0, -1))
    requests = sum(breach.requests for breach in stretch)
    met = 1.0 - _missed(stretch, which) / requests
    until = "" if len(stretch) == 1 else f" to {last:%H:%M}"
    return f"{first:%a %d %H:%M}{until} ({100 * met:.0f} % met)"


def next_steps(advices: Sequence[Advice], *, prometheus: str) -> list[str]:
    """The lines that end the output: what to do with it, each at most 80 wide where names allow."""
    lines = []
    doubtful = [a for a in advices if a.error_max is None or a.error_max > BELIEVED_RATIO]
    if doubtful:
        lines.append("First: a profile of your own engine, and this again with it.")
    for advice in doubtful:
        where = f" --namespace {advice.namespace}" if advice.namespace else ""
        lines += [
            f"  autoscaler calibrate --prometheus {prometheus}{where} \\",
            f"    --model {advice.model_name} --profile {advice.choice.profile.name} \\",
            "    --max-num-seqs AS-SERVED --write profile.json",
            f"  autoscaler advise --prometheus {prometheus}{where} \\",
            f"    --profile '{advice.model_name}=profile.json'",
        ]
    lines += [
        "Next: watch it decide on your cluster. In mode Observe it changes nothing.",
        "  In deploy/overlays/site/config.yaml:",
    ]
    for number, advice in enumerate(advices):
        target = advice.deployment or "YOUR-DEPLOYMENT"
        price = f'priceUSDPerHour: "{advice.choice.profile.usd_per_hour:g}"'
        lines += ["    ---"] if number else []
        lines += [
            "    apiVersion: inference-autoscaler.dev/v1alpha1",
            "    kind: InferenceAutoscaler",
            "    metadata:",
            f"      name: {target.lower()}",
            f"      namespace: {advice.namespace or 'default'}",
            "    spec:",
            "      mode: Observe",
            f'      modelNames: ["{advice.model_name}"]',
            f"      maxReplicas: {advice.replicas_max}",
            "      objective:",
            f"        timeToFirstTokenMilliseconds: {round(1000 * advice.ttft_s)}",
            f"        timePerOutputTokenMilliseconds: {round(1000 * advice.tpot_s)}",
            f'        attainmentPercent: "{100 * advice.attainment_ratio:g}"',
            f"      targets: {{inFlightRequestsPerReplica: {_quantity(advice.in_flight_target)}}}",
            f"      coldStart: {{priorSeconds: {round(advice.start.cold_start.mean_s)}}}",
            "      pools:",
            f"      - {{name: on-demand, capacityType: OnDemand, {price},",
            f"         scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {target}}}}}",
        ]
    lines += [
        "  Then, with the image that deploy/README.md says how to build:",
        "  autoscaler check --config deploy/overlays/site/config.yaml",
        "  kubectl apply -k deploy/overlays/site",
    ]
    return lines


def _quantity(number: float) -> str:
    """A number as the resource takes it: whole, or a decimal in quotes."""
    return f"{number:.0f}" if number == int(number) else f'"{number:g}"'
