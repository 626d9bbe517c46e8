"""Reads a page as a browser would: what it loads, its charts' data, its text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

#: Attributes whose value a browser may load.
LOADING = {"src", "srcset", "href", "xlink:href", "data", "poster", "action", "background"}


class Page(HTMLParser):
    """The parts of a page.

    Attributes:
        tags: the names of all elements.
        loads: what its elements and style sheets load from outside of the page.
        handlers: attributes that run scripts, such as onclick.
        scripts: the text of every script by its id, "" for none.
        pictures: the address and the text of every picture that stands in the page itself.
        rows: the text of the cells of every row of a table.
        text: all text outside of scripts and styles.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.loads, self.handlers, self.scripts, self.text = list[str](), list[str](), list[str](), {}, ""
        self.pictures = list[tuple[str, str]]()
        self.rows = list[list[str]]()
        self._in_cell = False
        self._inside: tuple[str, str] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self._in_cell = True
        values = {name: value or "" for name, value in attrs}
        self.loads += [v for n, v in values.items() if n in LOADING and not v.startswith(("#", "data:"))]
        self.loads += re.findall(r"url\([^)]*\)", values.get("style", ""))
        if tag == "img" and values.get("src", "").startswith("data:"):
            self.pictures.append((values["src"], values.get("alt", "")))
        self.handlers += [name for name in values if name.startswith("on")]
        self._inside = (tag, values.get("id", "")) if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._inside = None
        self._in_cell = self._in_cell and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self.text += data
            if self._in_cell:
                self.rows[-1][-1] += data
        elif self._inside[0] == "style":
            self.loads += re.findall(r"@import[^;]*|url\((?!#)[^)]*\)", data)
        else:
            self.scripts[self._inside[1]] = self.scripts.get(self._inside[1], "") + data

    def chart(self, name: str) -> dict[str, Any]:
        """The specification of a chart."""
        return json.loads(self.scripts[f"{name}-spec"])

    def data(self, chart: str, name: str) -> list[dict[str, Any]]:
        """The rows of a table of a chart."""
        return next(table["values"] for table in self.chart(chart)["data"] if table["name"] == name)


def bars(page: Page) -> list[tuple[Any, ...]]:
    """The bars of the Gantt chart: the name of the nest, its engine, phase, start and end."""
    return [
        tuple(row[k] for k in ("name", "engine", "phase", "start", "end")) for row in page.data("schedule", "nests")
    ]


def nests(program: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The same from the contents of program.json."""
    return [tuple(nest[k] for k in ("name", "engine", "phase", "start", "end")) for nest in program["nests"]]
