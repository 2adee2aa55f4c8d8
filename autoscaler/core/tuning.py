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
    batch_line_s: float = 6 * 3600.0
    """Seconds after which what was seen of the time of a token over the batch weighs 1/e. Judgement."""
    batch_line_minutes: float = 10.0
    """Minutes that make a line."""
    batch_line_errors: float = 3.0
    """Standard errors from which on the slope is taken for one."""
    batch_line_requests: float = 1000.0
    """Completions of one minute that count, at most."""
    batch_line_spread: float = 0.01
    """Least variance of the batches, in requests squared: on one spot there is no line."""
    alone_ratio_min: float = 0.5
    """Of the measured service time: more than half of it is never put down to the batch. The reference."""
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
    queue_patience_s: float = 60.0
    """Seconds by which a queue outlives its own forecast before it refutes the in-flight target. Judgement: a
    burst on top of another one takes less."""
    queue_completions_min: float = 20.0
    """Requests, finished by the replicas with a queue, that say what they carry: the mean of so many is off
    by a quarter."""
    carried_safe_ratio: float = 0.8
    """Of what a replica finishes while a queue stands: what it carries within the objective. The reference
    in `decision-rule` has 1 / 1.25."""
    carried_gross_ratio: float = 0.75
    """A lesson below this share of what was held true is one; above, the target is right as far as a queue
    can tell. Judgement."""
    carried_ratio_min: float = 1.0 / 64.0
    """The hardest lesson: a target of 32 where half a request in flight would be right."""
    carried_told_ratio: float = 0.98
    """Above this the lesson is forgotten."""
    carried_doubt_s: float = 7 * 86_400.0
    """Seconds after which 1/e of a lesson is left: a week has seen every peak. Judgement."""
    carried_flow_s: float = 300.0
    """Seconds over which replicas carry more than they were seen to, without a queue, that take a lesson
    back so far. Judgement."""
    still_s: float = 120.0
    """Seconds without a prefilled or generated token after which a replica that holds requests stands
    still. A prefill alone in its engine is the longest such time: 120 s are a million tokens at what an
    H100 prefills of an 8B model (10,000 a second, `simulations/serving/profiles`)."""
    still_without_tokens_s: float = 900.0
    """The same of an engine that counts finished requests alone: longer than a request takes. Judgement."""
    mute_s: float = 600.0
    """Seconds without an answer after which a ready replica, one of a minority, is taken to be full and
    to stay so, and the others are decided on. Judgement: longer than an exporter's or a page's outage."""
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
    filling_service_times: float = 3.0
    """Service times after which the load that came out of nothing is known: replicas that were empty hold
    95 % of it by then, 1 - exp(-3)."""
    filling_s: float = 60.0
    """Seconds of the same where the service time is not known. Judgement: a few requests' time."""
    nothing_s: float = 30.0
    """Seconds without load after which a load rises out of nothing. Judgement: longer than a pause between
    two requests of a model that serves."""
    filling_s_max: float = 300.0
    """And never more than this: as long as it takes an idle model to be one (`idle_s`)."""
    batch_slots: int = 36
    """Most slots of 5 s whose residuals are taken in at once: three minutes. What follows from the
    histograms costs more than a tick may, and changes little from one tick to the next:
    `python -m tests.benchmarks.tick` shows the cost. Judgement."""
    batch_ratio: float = 0.1
    """A batch is no more than this share of the residuals that are known, so that a new model learns
    with every tick. Judgement."""

    # --- the ramp's part of the warm floor ---

    ramp_watched_s_min: float = 3_600.0
    """Seconds of load, at least, from which the ramp is told. Judgement."""
    ramp_watched_s_max: float = 86_400.0
    """And at most: a day has seen what comes every day. In between it is one cold start for each that the
    objective allows to be missed: at 99 % a hundred of them."""
    ramp_calm_ratio: float = 0.8
    """The ramp's part falls where what rises above the lower one is at most this share of what may be missed.
    Judgement: a floor that comes and goes buys starts."""

    # --- candidates: rules played on the model's own traffic ---

    play_s: float = 15.0
    """Seconds of one step of the play. Judgement: a twelfth of a cold start of three minutes, at a third of
    the CPU time of a step every tick."""
    play_gap_s: float = 60.0
    """Seconds between two looks after which what came in between is not known."""
    slack_ratio: float = 0.6
    """Of the time to the first token: what a request may wait for its seat; the rest is its prefill.
    The reference's prototype."""
    uneven_ratio: float = 0.2
    """A replica of n carries 1 - 0.2 / sqrt(n) of one of very many. From load tests of fleets of 1 to 64:
    of long prompts it is 0.5, of short ones 0.1."""
    chance_power: float = 3.0
    """At n replicas the misses by chance rise with the load to the power 3 * sqrt(n) + 2. The reference's
    prototype, by the same load tests."""
    chance_power_least: float = 2.0
    """See `chance_power`."""
    chance_load_max: float = 1.6
    """Of what a fleet carries: beyond it requests wait, which is counted apart."""
    capacity_half_life_s: float = 12 * 3600.0
    """Seconds after which what was missed says half as much about what a replica carries."""
    capacity_requests_max: float = 5.0
    """Requests of one step that count, at most: those of one step miss together."""
    capacity_step_max: float = 5.0
    """By how much (a logarithm) one step makes a hypothesis less likely than another, at most."""
    capacity_doubt: float = 0.4
    """Standard deviation of the logarithm of what replicas really carry, over what was told."""
    capacity_stick: float = 2.0
    """Another hypothesis is believed when it is e**2 times as likely as the one that is."""
    base_requests: float = 300.0
    """Requests at one load that say what is missed there."""
    ended_s_max: float = 120.0
    """Seconds after which requests are taken to have ended, at most."""
    played_half_life_s: float = 24 * 3600.0
    """Seconds after which what was played weighs half: one jump in six hours needs a day."""
    played_s_min: float = 1800.0
    """Seconds that are played before a rule decides. Judgement: with less, which is cheaper is luck."""
    unexplained_max: float = 20.0
    """By how much more may be missed than was foreseen for a rule to begin to decide: beyond that nothing is known of what
    replicas carry, and what queues taught decides. Judgement."""
    budget_aim_ratio: float = 0.6
    """Of the budget: what a rule may miss. The rest is for what the play does not know."""
    miss_price: float = 3.0
    """What a request beyond the budget costs, in hundreds of requests at 99 %. The reference's prototype."""
    start_price_s: float = 180.0
    """Replica-seconds that a start counts for beside what it costs, so that of two rules that pay the same the
    calmer one decides. Judgement: as long as a usual cold start."""
    choice_stick_ratio: float = 0.03
    """Another rule takes over when it is cheaper by this share."""
    overspent_max: float = 30.0
    """By how much the aim is divided at most when more is missed than was foreseen."""

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
    not_ready_patience_s: float = 60.0
    """Seconds for which a node that says itself that it is not ready, or all of them that fall silent
    together, are not taken for lost. As long as an unschedulable replica is waited for."""
    node_sweep_s: float = 6.0
    """Seconds in which the node controller looks at every node once (5) and we hear of it: by then it is
    known whether others fell silent with one."""
    rollout_s: float = 600.0
    """Seconds in which a rollout may show no change and still hold a scale-down, at least; two cold starts
    where those are longer. Kubernetes' own progressDeadlineSeconds is 600."""
    unschedulable_patience_s: float = 60.0
    """Seconds. An unschedulable replica is no supply from its first moment, but another pool is asked
    for it only after this long: a node provisioner first sees the pod when it is unschedulable, and
    takes about a minute to add a node; asking elsewhere at once would buy every scale-up twice."""

    drains_measured_max: int = 50
    """The last drains of a model that are remembered. Judgement: with some ten requests each, the
    longest of them is that of one request in five hundred."""

    # --- spot: where not to ask, and what a zone may take with it ---

    cooldown_s: float = 180.0
    """Seconds in which a zone and instance type is not asked for spot, after an interruption or a wait
    for a node in vain. Karpenter: it takes a type in a zone for unavailable for three minutes after
    either."""
    cooldown_s_max: float = 1800.0
    """The longest; each one in vain doubles the next. Judgement: recorded outages of a single spot
    machine last half an hour in the median, and a zone that is asked twice an hour in vain costs
    nothing worth saving."""
    cooldown_forgiven_ratio: float = 2.0
    """Of its last cooldown: a place that has been calm for so long begins with the shortest again.
    Judgement."""
    zone_losses_span_s: float = 86_400.0
    """Seconds over which the losses of zones are counted: what was a day ago weighs 1/e. Judgement: as
    long as it takes to see a few of them."""


TUNING = Tuning()

ROUNDING = 1e-9
"""What a sum of floats may be off by (relative, or of numbers near one): 1.2 * 2.5 is 3, and not
3.0000000000000004, of which the next whole number would be 4. No part of the tuning."""
