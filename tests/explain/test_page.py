"""The page for people: what it says is what decisions say, and what a name says is never a tag."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from autoscaler.core.contract.spec import Mode
from autoscaler.explain import asked_of
from autoscaler.explain.chart import chart
from autoscaler.explain.course import COLUMNS, POINTS, SLOT_S_MAX, TURNS, Course
from autoscaler.explain.page import WHOLE_MAX, PageModel, PageState, page_in_steps
from autoscaler.sources.pages.turns import at_once
from tests.builders import group
from tests.explain.test_explanation import ASKED, SPEC, decide
from tests.require import require

STATE = PageState(at=1_800_000_100.0, version="1.2.3", problems=(), live=True)
VOID = frozenset({"meta", "path"})


@pytest.fixture(scope="module")
def decision():
    return decide(
        group("on-demand", ready=1, running=20.0), group("spot", ready=1, running=12.0), ticks=3
    )


def course(decision, *, count: int = 30, every_s: float = 5.0) -> Course:
    made = Course()
    for number in range(count):
        moved = decision._replace(at=decision.at + every_s * number, desired_replicas=number // 10)
        made.add(moved, ASKED)
    return made


def page(models, state=STATE, *, chosen: str = "") -> str:
    return at_once(page_in_steps(models, state, chosen=chosen))


def one(decision, **changes) -> dict[str, PageModel]:
    changed = decision._replace(**changes)
    return {changed.model: PageModel(changed, ASKED, course(changed))}


class Balanced(HTMLParser):
    """Every tag is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        del attrs
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_one_model_is_shown_whole_with_its_reasons(decision):
    text = page(one(decision))
    Balanced(text)
    assert "serving/llama" in text
    assert "<svg" in text
    assert "How the number came about" in text
    assert "<details open><summary>Why</summary>" in text
    assert "{{" not in text


def test_a_name_that_is_markup_is_shown_and_not_obeyed(decision):
    name = "<script>alert(1)</script>\"'{{models}}"
    text = page(one(decision, model=name), STATE._replace(problems=("<b>{{table}}</b>",)))
    assert "script" not in Balanced(text).seen
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;{{table}}&lt;/b&gt;" in text


def test_it_asks_nobody_for_anything(decision):
    text = page(one(decision))
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!\?|#)", text)
    assert "url(" not in text
    assert "@import" not in text


def test_of_many_models_there_is_a_table_and_one_is_chosen(decision):
    models = {}
    for number in range(WHOLE_MAX + 1):
        moved = decision._replace(model=f"serving/m{number}")
        models[moved.model] = PageModel(moved, ASKED, course(moved, count=2))
    text = page(models)
    assert text.count("<section") == 0
    assert text.count('<a href="?model=serving/m') == WHOLE_MAX + 1
    chosen = page(models, chosen="serving/m3")
    assert chosen.count("<section") == 1
    assert '<section id="serving/m3"' in chosen
    assert page(models, chosen="serving/none") == text
    few = dict(list(models.items())[:3])
    assert page(few).count("<section") == 3


def test_without_a_model_it_says_why():
    text = page({}, STATE._replace(problems=("no decision was made yet",)))
    Balanced(text)
    assert "No model is decided on yet." in text
    assert "no decision was made yet" in text


def test_who_observes_is_told_apart_from_who_acts(decision):
    assert "It observes" not in page(one(decision))
    asked = ASKED._replace(mode=Mode.OBSERVE)
    assert "It observes" in page({decision.model: PageModel(decision, asked, course(decision))})


def test_a_recording_is_not_asked_for_again(decision):
    assert 'http-equiv="refresh"' in page(one(decision))
    assert 'http-equiv="refresh"' not in page(one(decision), STATE._replace(live=False))


# -- the course


def test_a_course_holds_the_last_of_each_slot(decision):
    made = course(decision, count=30, every_s=0.25)
    assert made.count < 30
    assert made.column("at")[-1] == decision.at + 29 * 0.25
    assert np.all(np.diff(made.column("at")) > 0)


def test_a_course_does_not_grow(decision):
    made = Course()
    days = np.arange(decision.at, decision.at + 4 * 86_400.0, 60.0)
    for at in days.tolist():
        made.add(decision._replace(at=at), ASKED)
    at = made.column("at")
    assert len(at) <= POINTS
    assert made.slot_s == SLOT_S_MAX
    assert at[-1] == days[-1]
    assert at[-1] - at[0] >= 0.4 * POINTS * SLOT_S_MAX
    assert np.all(np.diff(at) > 0)


def test_what_is_unknown_is_a_gap(decision):
    made = Course()
    for number in range(9):
        blind = number in (3, 4)
        moved = decision._replace(
            at=decision.at + 5.0 * number,
            desired_replicas=None if blind else 2,
            measures=decision.measures._replace(demand_replicas=None if blind else 1.5),
        )
        made.add(moved, ASKED)
    assert np.isnan(made.column("demand")).sum() == 2
    (demand,) = re.findall(r'<path class="demand" d="([^"]*)"', chart(made))
    assert demand.count("M") == 2
    assert "nan" not in chart(made)


def test_only_what_changed_something_is_remembered(decision):
    made = course(decision, count=30)
    assert [turn.at - decision.at for turn in made.turns] == [0.0, 50.0, 100.0]
    for number in range(100):
        made.add(
            decision._replace(at=decision.at + 1000.0 + number, desired_replicas=number), ASKED
        )
    assert len(made.turns) == TURNS


def test_every_column_is_what_the_decision_has(decision):
    made = course(decision, count=1)
    measures = decision.measures
    found = {name: made.column(name)[0] for name in COLUMNS}
    assert found["ready"] == sum(pool.ready_replicas for pool in decision.pools)
    assert found["current"] == decision.current_replicas
    assert found["floor"] == measures.warm_floor_replicas
    assert found["demand"] == pytest.approx(measures.demand_replicas)


def test_a_chart_needs_two_points(decision):
    assert chart(Course()) == ""
    assert chart(course(decision, count=1)) == ""


# -- in a browser

CHROMIUM = (
    "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=8000", "--allow-file-access-from-files", "--dump-dom",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.chromium
@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_its_window_and_asks_nobody_for_anything(tmp_path, decision, width):
    require("chromium", shutil.which("chromium"), "not installed")
    other = decision._replace(model="a-rather-long-namespace-of-a-team/" + "m" * 60)
    models = one(decision) | {other.model: PageModel(other, asked_of(SPEC), course(other))}
    (tmp_path / "own.html").write_text(page(models, STATE._replace(live=False)))
    frame = f"""<body><iframe id="page" src="own.html" width="{width}" height="800"></iframe><script>
      document.getElementById('page').onload = function () {{
        var page = this.contentDocument, asked = this.contentWindow.performance;
        document.body.dataset.over =
          page.documentElement.scrollWidth - page.documentElement.clientWidth;
        document.body.dataset.drawn =
          Math.round(page.querySelector('path.desired').getBoundingClientRect().width);
        document.body.dataset.asked = asked.getEntriesByType('resource').length;
      }};
    </script></body>"""
    (tmp_path / "frame.html").write_text(frame)
    dom = subprocess.run(
        [*CHROMIUM, f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path}/frame.html"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout
    assert 'data-over="0"' in dom, "nothing sticks out to the right"
    assert re.search(r'data-drawn="[1-9]\d\d', dom), "the chart is as wide as its place"
    assert 'data-asked="0"' in dom
