"""The numbers that tune the rule: one object, so that they can be read, and judged, together.

They are no settings: one value of each serves every model, and a user who wants something else says
so in what the rule is told (objective, targets, cold start, limits). Numbers that are facts about
Kubernetes, the engines or the exporters stand where they are used.

Each says where it comes from. Three sources are named in short:

- *study*: the rule was first measured outside of this repository, on 22 series of recorded traffic cut
  into minutes (no queue), and then with one queue before all replicas on seven of them. One
  configuration served all series; its numbers were not tuned one by one, and the study cannot be run
  from here.
- *scoreboard*: `make scoreboard TRACES=folder ONLY=entry`, or `python -m simulations.studies.scoreboard
  --traces folder --only entry`, replays an entry of `simulations/studies/scoreboard/scoreboard.toml`;
  `simulations/SCOREBOARD.md` has the figures of the values below. To judge another value, change it
  here and compare.
- *judgement*: chosen by judgement; not derived.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """All of them, with units. `TUNING` is what runs."""

    # --- demand: how much work arrives ---

    service_time_span_s: float = 900.0
    """Seconds over which the mean service time is measured. Study: the last quarter of an hour."""
    service_time_bucket_s: float = 60.0
    """Seconds by which that span slides. Judgement: the span is met within a fifteenth."""
    completions_min: float = 10.0
    """Requests. Fewer within the span do not measure the service time: the mean of ten lengths that
    vary as much as their mean is off by 1 / sqrt(10), a third."""
    crowded_ratio: float = 1.5
    """Of the in-flight target: where replicas run more than that on average they are crowded, and
    what a request takes then is no measure of its work. Judgement: the target and half as much."""
    backlog_ratio: float = 2.0
    """While requests wait, demand is at most this many times the offered load, and `backlog_replicas`
    more. Study: right after a burst what is in flight says what clears the queue; the bound keeps an
    old backlog from asking for replicas that would stand idle when they are ready."""
    backlog_replicas: float = 1.0
    """Replicas; see `backlog_ratio`. Without it a model without load could not clear its first queue."""
    headroom_ratio: float = 1.2
    """What the reactive policy multiplies demand by. Judgement: demand moves while it is measured,
    and no router spreads it evenly."""

    # --- forecast: how far demand strays from its baselines ---

    mean_steps: float = 2.0
    """Steps of the program over which demand is averaged before a forecast is held against it: a third
    of a cold start. A burst of seconds, which the queue takes within the objective, is no demand for a
    replica that needs minutes. Scoreboard, an earlier version of it: with 1, eight of ten recordings
    cost 1 to 8 % more at the same attainment; with 4, two lost whole bursts."""
    leads_s: tuple[int, ...] = (15, 30, 45, 60, 90, 120, 180, 240, 360, 540, 780, 1200)
    """Seconds ahead for which residuals are kept, ascending. Fixed, for the steps of the program change
    as the cold start is learnt. Study: about twelve hold all there is to know; 1200 s is a cold start
    of ten minutes and `after_s`."""
    lead_groups: int = 4
    """Leads are weighed in so many groups of equally many: up to 45, 120, 360 and 1200 s. Study."""
    root_shift: float = 0.3
    """Replicas, added to demand under the square root in which residuals are taken: so that zero has a
    finite slope. Study."""
    atom_first: float = 0.05
    """Half the smallest residual that a histogram tells from zero, in square-root space: a fifth of a
    replica at a baseline of three. Judgement."""
    atom_growth: float = 0.115
    """By which share each further atom lies farther from the last one than that from its own last.
    With `atoms_outward` it makes the grid reach 24: from none to 160 replicas. Study: some 64 atoms
    hold as much as 201."""
    atoms_outward: int = 31
    """Atoms on each side of zero; see `atom_growth`."""
    residual_decay_s: float = 2 * 86_400.0
    """Seconds after which a residual weighs 1/e. Study: two days, so that yesterday counts."""
    prior_scale: float = 0.3
    """Of the Laplace prior around zero, in square-root space. Study."""
    prior_weight: float = 5.0
    """Of that prior, in residuals. Study: half a minute of real ones outweighs it."""
    idle_prior_weight: float = 360.0
    """The same of an idle model: as if it had been idle for half an hour (of ticks of 5 s). Idle ticks
    before one onset are alike, so they do not tell how often one comes: a single one must not look
    like a habit. The half hour is by judgement."""
    sharpness: float = 10.0
    """Of the experts' weights, `exp(-10 * (loss / best - 1))`: one whose losses are 10 % above the
    best's weighs e times less. Study."""
    idle_replicas: float = 0.1
    """Replicas. Demand below this is none, as far as a second replica is concerned. Judgement."""
    idle_s: float = 300.0
    """Seconds without demand after which a model is idle. How demand moved while there was some does
    not say when it will come back, so an idle model has a distribution of its own, learnt from idle
    times alone. (With one for both, a single burst kept its replicas for hours, for the ticks before
    it began looked like any other tick.) The five minutes are by judgement."""
    batch_slots: int = 36
    """Most slots of 5 s whose residuals are taken in at once: three minutes. What follows from the
    histograms costs more than a tick may, and changes little from one tick to the next:
    `python -m tests.benchmarks.tick` shows the cost. Judgement."""
    batch_ratio: float = 0.1
    """A batch is no more than this share of the residuals that are known, so that a new model learns
    with every tick. Judgement."""

    # --- policy: what a replica is worth ---

    start_steps: int = 6
    """Into how many steps a cold start is cut; no step is shorter than a tick. Judgement: fine enough
    that a replica halfway there is told from one that is just asked for."""
    after_s: float = 600.0
    """Seconds that the program looks ahead beyond the cold start. Study: beyond 15 minutes nothing was
    gained (20 and 60 minutes gave the same); ten of them are by judgement."""
    after_steps_max: int = 24
    """Most steps of that time. At short cold starts, whose steps are a tick, it bounds the CPU time of
    a decision: `python -m tests.benchmarks.tick`. Judgement."""
    price: float = 60.0
    """Of a replica-step of unmet work, in what a replica costs a step, at an objective of 99 %. Study:
    30 without a queue, and twice that with one, for there one missing replica makes every arrival late
    until the backlog is gone. One number cannot fit all traffic: on the scoreboard it is
    too high on most entries and too low on some."""
    price_power: float = 0.7
    """How the price follows the objective: `price * (0.01 / (1 - objective)) ** 0.7`, so 97 at 99.5 %
    and 300 at 99.9 %. Study."""

    # --- supply: what can be counted on ---

    starts_measured_max: int = 20
    """The last starts of a pool that are remembered. Judgement: few enough to follow a new image within
    a day."""
    start_quantile: float = 0.9
    """Which of them a start is counted to take: of twenty, all but two were as quick. Judgement."""
    start_prior_weight: float = 5.0
    """Of the cold start that the specification states, in measured starts. Judgement."""
    start_prior_fade: float = 0.5
    """By how much that weight falls with each measured start: after ten it has no say. Judgement."""
    expiry_cold_starts: float = 2.0
    """Expected cold starts after which a start that shows no sign of life is given up. Judgement: the
    expected one is already slower than nine in ten."""
    unschedulable_patience_s: float = 60.0
    """Seconds. An unschedulable replica is no supply from its first moment, but another pool is asked
    for it only after this long: a node provisioner first sees the pod when it is unschedulable, and
    takes about a minute to add a node; asking elsewhere at once would buy every scale-up twice."""


TUNING = Tuning()

ROUNDING = 1e-9
"""What a sum of floats may be off by (relative, or of numbers near one): 1.2 * 2.5 is 3, and not
3.0000000000000004, of which the next whole number would be 4. No part of the tuning."""
