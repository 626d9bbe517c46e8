"""Looks at a `report.html` in headless Chromium: what it loads, draws, and does when it is used."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcam.errors import GradcamError
from gradcam.outside import outside

#: The names of the browser's command in distributions.
COMMANDS = ("chromium", "chromium-browser", "google-chrome")

#: Width and height of a window, and of a phone, in pixels.
WINDOW, PHONE = (1200, 900), (390, 844)

#: Milliseconds until a page that draws nothing is given up.
PATIENCE = 20_000

#: The fewest cycles that the Gantt chart shows; a shorter run is shown whole.
LEAST_CYCLES = 16

#: The drawn bars: number, x and width of each, and the pixels and cycles of the chart.
_DRAWN = """() => {
  const view = gradcamViews.schedule, bars = [];
  const walk = (item) => {
    if (item.marktype === "rect" && item.name === "bars")
      for (const bar of item.items) bars.push([bar.datum.number, bar.x, bar.width]);
    else for (const inner of item.items ?? []) walk(inner);
  };
  walk(view.scenegraph().root);
  return { bars, width: view.signal("width"), cycles: view.signal("whole")[1] };
}"""


@dataclass(frozen=True)
class Gantt:
    """The Gantt chart of a compile.

    Attributes:
        wrong_bars: nests whose bar is missing, or not from start to end.
        zoomed: whether the wheel zooms about the pointer, a drag moves, and a double click shows the whole run again.
        hovered: the text beside the pointer on the longest bar.
    """

    wrong_bars: list[str]
    zoomed: bool
    hovered: str


@dataclass(frozen=True)
class Seen:
    """What a browser saw of a page.

    Attributes:
        bytes: of the page.
        seconds: from opening it until all charts are drawn.
        errors: what stands in the console.
        requests: what was loaded besides the page.
        phone_width: width of the page in a window of 390 pixels with all tables open.
        gantt: of a compile; None for a run.
    """

    bytes: int
    seconds: float
    errors: list[str]
    requests: list[str]
    phone_width: int
    gantt: Gantt | None


def command() -> str | None:
    """The browser's command; None where there is none."""
    return next(filter(None, map(shutil.which, COMMANDS)), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium.

    Raises:
        GradcamError: Chromium or Playwright is missing.
    """
    if (found := command()) is None:
        raise GradcamError(f"there is no {', '.join(COMMANDS)}; install Chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise GradcamError("playwright is missing; pip install -c constraints.txt '.[browser]'") from None
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(started: Any, page: Path, size: tuple[int, int] = WINDOW, scheme: str = "light") -> Iterator[Any]:
    """A page in a window, all charts drawn.

    Args:
        started: the browser.
        page: the file.
        size: width and height in pixels.
        scheme: "light" or "dark".

    Raises:
        GradcamError: the page is missing, or not drawn in time.
    """
    window = {"width": size[0], "height": size[1]}
    context = started.new_context(viewport=window, color_scheme=scheme)
    tab = context.new_page()
    tab.seen_errors, tab.seen_requests = [], []
    tab.on("console", lambda message: tab.seen_errors.append(message.text))
    tab.on("pageerror", lambda error: tab.seen_errors.append(str(error)))
    tab.on("request", lambda request: tab.seen_requests.append(request.url))
    before = time.perf_counter()
    drawn = "!document.querySelector('.chart') || document.documentElement.dataset.drawn"
    with outside(f"{page} is not drawn"):
        tab.goto(page.resolve().as_uri())
        tab.wait_for_function(drawn, timeout=PATIENCE)
    tab.seconds = time.perf_counter() - before
    yield tab
    context.close()


def look(started: Any, page: Path, program: dict[str, Any] | None) -> Seen:
    """Looks at a page in a window and on a phone, and uses its Gantt chart.

    Args:
        started: the browser.
        page: report.html.
        program: contents of program.json of a compile; None for the page of a run.
    """
    with opened(started, page) as tab:
        gantt = None
        if program is not None:
            gantt = Gantt(wrong_bars(tab.evaluate(_DRAWN), program), _zoomed(tab), _hovered(tab, program))
        errors, seconds = tab.seen_errors, tab.seconds
        requests = [url for url in tab.seen_requests if url != page.resolve().as_uri()]
    with opened(started, page, PHONE) as tab:
        tab.evaluate("for (const table of document.querySelectorAll('details')) table.open = true")
        width = tab.evaluate("document.documentElement.scrollWidth")
        errors = [*errors, *tab.seen_errors]
    return Seen(page.stat().st_size, seconds, errors, requests, width, gantt)


def wrong_bars(drawn: dict[str, Any], program: dict[str, Any]) -> list[str]:
    """The nests whose bar is missing or elsewhere than from their start to their end, within a pixel."""
    found = {number: (x, width) for number, x, width in drawn["bars"]}
    scale, wrong = drawn["width"] / drawn["cycles"], []
    for number, nest in enumerate(program["nests"]):
        x, width = found.pop(number, (-1, -1))
        if abs(x - nest["start"] * scale) > 0.01 or abs(x + width - nest["end"] * scale) > 1.01:
            wrong.append(nest["name"])
    return wrong + [f"bar {number} of no nest" for number in found]


def _place(tab: Any) -> tuple[float, float, float]:
    """The chart in the window: the left edge of cycle 0, the upper edge, the width of the run in pixels."""
    tab.locator("#schedule").scroll_into_view_if_needed()
    box = tab.locator("#schedule canvas").bounding_box()
    padding = tab.evaluate("gradcamViews.schedule.padding()")
    width = tab.evaluate("gradcamViews.schedule.signal('width')")
    return box["x"] + padding["left"], box["y"] + padding["top"], width


def _hovered(tab: Any, program: dict[str, Any]) -> str:
    """Points at the longest bar; the text that comes, if any does."""
    from playwright.sync_api import TimeoutError as NothingShownError

    left, top, width = _place(tab)
    nest = max(program["nests"], key=lambda nest: nest["end"] - nest["start"])
    cycles = max(nest["end"] for nest in program["nests"])
    row = list(dict.fromkeys(nest["engine"] for nest in program["nests"])).index(nest["engine"])
    high = tab.evaluate("gradcamViews.schedule.signal('engine_rows') / gradcamViews.schedule.data('engines').length")
    tab.mouse.move(left + width * (nest["start"] + nest["end"]) / 2 / cycles, top + high * (row + 0.5))
    try:
        return tab.locator("#vg-tooltip-element.visible").inner_text(timeout=PATIENCE)
    except NothingShownError:
        return ""


def _zoomed(tab: Any) -> bool:
    """Turns the wheel, drags, and double-clicks; whether the cycles that are shown follow."""
    left, top, width = _place(tab)
    x, y = left + width / 4, top + 20

    def shown() -> list[float]:
        tab.evaluate("gradcamViews.schedule.runAsync().then(() => true)")
        return tab.evaluate("gradcamViews.schedule.signal('shown')")

    whole = shown()
    tab.mouse.move(x, y)
    tab.mouse.wheel(0, -600)
    tab.wait_for_timeout(100)
    near = shown()
    at, span = whole[1] / 4, near[1] - near[0]
    about = abs((at - near[0]) / span - 0.25) < 0.02 and 0 < span <= max(0.7 * whole[1], min(LEAST_CYCLES, whole[1]))
    tab.mouse.down()
    tab.mouse.move(x + 60, y, steps=4)
    tab.mouse.up()
    moved = shown()
    followed = abs(moved[0] - max(0, near[0] - 60 * span / width)) < 0.02 * span
    tab.mouse.dblclick(x, y)
    tab.wait_for_timeout(100)
    return about and followed and abs(moved[1] - moved[0] - span) < 1e-6 * span and shown() == whole


def program_of(folder: Path) -> dict[str, Any] | None:
    """The contents of a folder's program.json, as they stand there; None of a run, which has none."""
    path = folder / "program.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
