"""report.html in headless Chromium, where it and Playwright are installed."""

import copy
import shutil

import pytest
from browser import PHONE, browser, command, look, opened, program_of, wrong_bars
from page_network import Net
from report_page import figures
from rtl_networks import Network

from gradcam.compiler import Settings
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.page import write_page

pytest.importorskip("playwright", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(command() is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "design"
    compile_to_folder(Net(), "a network", Settings("second", pe="4x4", weights="dram"), folder)
    return folder


@pytest.fixture(scope="module")
def seen(chromium, folder):
    return look(chromium, folder / "report.html", program_of(folder))


def test_the_page_is_drawn_loads_nothing_and_can_be_used(seen, folder):
    assert [row for row in figures("a network", seen, program_of(folder)) if not row.ok] == []


@pytest.mark.parametrize(("classes", "cycles"), [(2, 14), (6, 18)])
def test_the_chart_of_a_short_run_can_be_used(chromium, tmp_path, classes, cycles):
    """Of 14 cycles all are shown whatever the wheel does, and of 18 at least 16, about the pointer."""
    net, folder = Network(3, 1, 4, seed=1).classify(classes), tmp_path / "design"
    compile_to_folder(net, "short", Settings(None, pe="8x8", validate=False), folder)
    program = program_of(folder)
    assert program["nests"][-1]["end"] == cycles
    found = look(chromium, folder / "report.html", program)
    assert [row for row in figures("short", found, program) if not row.ok] == []


def test_a_chart_without_text_at_its_bars_is_missed(chromium, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("browser.PATIENCE", 2000)
    page = tmp_path / "report.html"
    text = (folder / "report.html").read_text(encoding="utf-8")
    page.write_text(text.replace("#vg-tooltip-element.vg-tooltip {", "canvas { pointer-events: none; } i {"), "utf-8")
    found = look(chromium, page, program_of(folder))
    assert found.gantt.hovered == "" and not found.gantt.zoomed
    missed = [row.what for row in figures("x", found, program_of(folder)) if not row.ok]
    assert missed == ["zoom, drag, double click, x", "text at the longest bar, x"]
    with pytest.raises(GradcamError, match=r"none.html is not drawn: Error: Page.goto: net::ERR_FILE_NOT_FOUND"):
        look(chromium, tmp_path / "none.html", None)


def test_bars_that_are_not_the_program_are_found(chromium, folder):
    other = copy.deepcopy(program_of(folder))
    other["nests"][1]["end"] -= (other["nests"][1]["end"] - other["nests"][1]["start"]) // 2
    assert look(chromium, folder / "report.html", other).gantt.wrong_bars == [other["nests"][1]["name"]]
    assert wrong_bars({"bars": [[99, 0, 1]], "width": 10, "cycles": 10}, {"nests": []}) == ["bar 99 of no nest"]


def test_what_a_page_loads_and_logs_is_seen(chromium, folder, tmp_path):
    page = tmp_path / "report.html"
    text = (folder / "report.html").read_text(encoding="utf-8")
    policy = next(line for line in text.splitlines() if "Content-Security-Policy" in line)
    page.write_text(text.replace(policy, "").replace("</header>", '<img src="other.png"></header>'), encoding="utf-8")
    found = look(chromium, page, program_of(folder))
    assert found.requests == [(tmp_path / "other.png").as_uri()] and found.errors
    page.write_text(text.replace("</header>", '<img src="other.png"></header>'), encoding="utf-8")
    assert look(chromium, page, program_of(folder)).errors, "the page itself refuses to load anything"


def test_a_page_that_is_too_wide_for_a_phone_is_seen(chromium, folder, tmp_path):
    page = tmp_path / "report.html"
    text = (folder / "report.html").read_text(encoding="utf-8")
    page.write_text(text.replace("</header>", '<div style="width:500px">wide</div></header>'), encoding="utf-8")
    assert look(chromium, page, program_of(folder)).phone_width > PHONE[0]


def test_a_page_without_scripts_has_its_figures_and_tables(chromium, folder):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((folder / "report.html").as_uri())
    text = tab.inner_text("body")
    assert f"{program_of(folder)['nests'][-1]['end']:,}" in text and "The chart needs JavaScript" in text
    context.close()


def test_names_of_others_run_nothing(chromium, folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "design")
    for name in ("program.json", "schedule.json", "report.json"):
        text = (copied / name).read_text()
        (copied / name).write_text(text.replace('"second.1"', r'"</script><img src=x onerror=\"document.title=1\">"'))
    write_page(copied)
    with opened(chromium, copied / "report.html", scheme="dark") as tab:
        assert tab.title() == "a network" and tab.seen_errors == []
        assert "<img" in str(tab.evaluate("gradcamViews.schedule.data('nests').map(nest => nest.name)"))
