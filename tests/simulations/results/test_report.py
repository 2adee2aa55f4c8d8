"""The report: what it shows, that it needs nothing from outside, and that a browser draws it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.bounds.figures import BoundCurve, BoundSchedule
from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.results.report.page import render
from simulations.results.report.write import check_report, write_report
from simulations.results.scorecard import Timeline, score
from simulations.results.seeds import SeedAverage
from simulations.results.timeline import timeline
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.profiles import PROFILES
from simulations.traces.trace import Trace
from simulations.world.cold_start import cold_start
from tests.require import require
from tests.simulations.runs.test_sweep import row


def entry(policy="inference-aware", setting="default", **figures):
    line = Timeline(
        hours=np.array([0.1, 0.2]),
        on_demand=np.array([1.0, 2.0]),
        spot=np.array([0.0, 1.0]),
        waiting=np.array([0.0, 3.0]),
        ttft_p95_s=np.array([0.2, np.nan]),
        lost=np.array([0.0, 1.0]),
    )
    known = {"attainment": 0.99, "cost_usd": 12.5} | figures
    return SeedAverage(
        trace="a <trace>",
        policy=policy,
        setting=setting,
        mean=known,
        worst={"attainment": 0.9},
        scores=(row(cost=1.0, attained=1.0),) * 2,
        timeline=line,
    )


def page(*entries, **more):
    return render(
        title="T",
        subtitle="S",
        entries=entries,
        columns={"cost_usd": ("cost", ".4g"), "attainment": ("attained", ".4g")},
        **more,
    )


def test_the_page_loads_nothing_and_forbids_it():
    text = page(entry(), entry("hpa", "best"))
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)\s*=", own)
    assert "default-src 'none'" in text
    assert "a &lt;trace&gt;" in text
    assert "hpa (best)" in text
    assert "<small>0.9</small>" in text, "the worst seed stands beside the mean"


CHROMIUM = (
    "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=8000", "--dump-dom",
)  # fmt: skip


def browser_page(folder: Path, text: str, *more: str) -> str:
    """What a browser makes of a page, as HTML."""
    require("chromium", shutil.which("chromium"), "not installed")
    (folder / "page.html").write_text(text)
    return subprocess.run(
        [*CHROMIUM, f"--user-data-dir={folder / 'profile'}", *more, f"file://{folder}/page.html"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout


def compared():
    """A page with everything on it: a best setting, a reference, a bound and its schedule."""
    curve = BoundCurve(
        trace="a <trace>",
        attainment=[0.5, 1.0],
        cost_usd=[1.0, 2.0],
        schedule=BoundSchedule(attainment=0.99, hours=[0.1, 0.2], replicas=[0.5, 1.5]),
    )
    return page(
        entry(),
        entry("hpa", cost_usd=9.0),
        entry("hpa", "best", cost_usd=8.0),
        entry("lookahead"),
        bounds=[curve],
    )


@pytest.mark.slow
@pytest.mark.chromium
def test_a_browser_draws_the_charts_and_sorts_the_table(tmp_path):
    # a click on the second heading and on a policy's button, as a reader would
    click = """<script>
      document.querySelectorAll('th')[1].click();
      var drawn = function () {
        return document.getElementById('c0-replicas').data.filter(function (line) {
          return line.visible !== false; }).map(function (line) { return line.name; }).join('|');
      };
      document.body.dataset.before = drawn();
      document.querySelector('.chip[data-name="hpa (best)"]').click();
      document.body.dataset.after = drawn();
    </script></body>"""
    dom = browser_page(tmp_path, compared().replace("</body>", click))
    body = dom[dom.rindex("<body") :]
    assert body.count('class="main-svg"') >= 6, "every chart is drawn"
    assert body.index(">hpa (best)<") < body.index(">hpa<") < body.index(">inference-aware<"), (
        "cheapest first after the click"
    )
    before = re.search(r'data-before="([^"]*)"', body)
    after = re.search(r'data-after="([^"]*)"', body)
    assert before is not None
    assert after is not None
    assert set(before[1].split("|")) ^ set(after[1].split("|")) == {"hpa (best)"}
    assert "clairvoyant at 99 %" in before[1]


@pytest.mark.slow
@pytest.mark.chromium
def test_it_fits_a_phone_and_asks_nobody_for_anything(tmp_path):
    (tmp_path / "report.html").write_text(compared())
    # a frame as wide as a phone: a window of a browser without a screen is not made so narrow
    frame = """<body><iframe id="phone" src="report.html" width="390" height="800"></iframe><script>
      document.getElementById('phone').onload = function () {
        var page = this.contentDocument, asked = this.contentWindow.performance;
        document.body.dataset.over =
          page.documentElement.scrollWidth - page.documentElement.clientWidth;
        document.body.dataset.charts = page.querySelectorAll('svg.main-svg').length;
        document.body.dataset.asked = asked.getEntriesByType('resource').length;
      };
    </script></body>"""
    dom = browser_page(tmp_path, frame, "--allow-file-access-from-files")
    assert 'data-over="0"' in dom, "nothing sticks out to the right"
    assert re.search(r'data-charts="[1-9]', dom), "the charts were there when it was measured"
    assert 'data-asked="0"' in dom, "no request for anything but the page"


def test_the_timeline_is_the_ledgers_area():
    rows = 40
    requests = RequestColumns(
        arrival_ns=np.arange(rows, dtype=np.int64) * 10**9 * 5,
        prompt_tokens=np.full(rows, 100),
        output_tokens=np.full(rows, 20),
    )
    conditions = Conditions(
        profile=PROFILES["llama-3.1-8b/1xL40S"], cold_start=cold_start("30"), replicas_max=3
    )
    trace = Trace(name="t", requests=requests)
    finished = run(trace, "static-peak", seed=0, conditions=conditions)
    line = timeline(finished)
    scored = score(finished)
    assert line.on_demand.mean() == pytest.approx(scored.replicas_mean, rel=0.05)
    assert not line.spot.any()
    assert line.lost.sum() == scored.lost


def test_what_would_keep_a_report_from_being_written_is_said_before_the_runs(tmp_path, monkeypatch):
    check_report(tmp_path / "report.html")
    check_report(Path("report.html"))
    with pytest.raises(SettingsError, match=rf"--report {tmp_path}/no/r.html: no folder"):
        check_report(tmp_path / "no" / "r.html")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"inference-autoscaler\[report\]"):
        check_report(tmp_path / "report.html")


def test_a_swept_policy_is_shown_in_both_its_settings(tmp_path):
    rows = [
        replace(row(cost=cost, attained=1.0), seed=seed, setting=setting)
        for setting, cost in (("default", 8.25), ("best", 6.5))
        for seed in (0, 1)
    ]
    write_report(tmp_path / "report.html", rows, curves=())
    text = (tmp_path / "report.html").read_text()
    body = text[text.index("<table") :]
    assert "hpa (best)" in body
    assert "8.25" in body
    assert "6.5" in body
    assert "7.375" not in body, "a mean over settings is nobody's"


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(SettingsError, match="a folder that exists"):
        write_report(Path(tmp_path / "no" / "report.html"), [], curves=())
