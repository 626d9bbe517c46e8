"""Parses the text of a pass pipeline, `builtin.module(a{x=1},func.func(b,c))`, into a tree."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gradcam.errors import GradcamError

#: The names of passes and ops in a pipeline.
NAME = re.compile(r"[\w.\-]+")
_SPACE = re.compile(r"\s*")
_QUOTES = "'\""


class PipelineError(GradcamError):
    """A mistake in a pipeline's text.

    Attributes:
        reason: what is wrong.
        column: where, from 1.
    """

    def __init__(self, reason: str, column: int) -> None:
        super().__init__(f"pipeline column {column}: {reason}")
        self.reason = reason
        self.column = column


@dataclass(frozen=True)
class Element:
    """One element of a pipeline: a pass with options, or an anchor op with the elements nested in it.

    Attributes:
        name: of the pass or the op.
        column: of the name, from 1.
        options: text between the braces; "" without braces.
        options_column: of the first character of `options`.
        children: nested elements; None for a pass.
    """

    name: str
    column: int
    options: str = ""
    options_column: int = 0
    children: tuple[Element, ...] | None = None


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def error(self, reason: str, position: int | None = None) -> PipelineError:
        return PipelineError(reason, (self.position if position is None else position) + 1)

    def skip_space(self) -> str:
        """Skips spaces and returns the next character, "" at the end."""
        self.position = _SPACE.match(self.text, self.position).end()  # type: ignore[union-attr]
        return self.text[self.position : self.position + 1]

    def elements(self, closing: str, opened_at: int) -> tuple[Element, ...]:
        """Elements up to `closing` ("" for the end of the text), which is consumed."""
        found: list[Element] = []
        if self.skip_space() == closing:
            self.position += 1
            return ()
        while True:
            found.append(self.element())
            char = self.skip_space()
            if char == closing:
                self.position += 1
                return tuple(found)
            if not char:
                raise self.error("'(' is never closed", opened_at)
            if char != ",":
                raise self.error(f"unbalanced '{char}'" if char in ")}" else f"expected ',' before '{char}'")
            self.position += 1

    def element(self) -> Element:
        char = self.skip_space()
        name = NAME.match(self.text, self.position)
        if not name:
            raise self.error(f"expected a pass name{f' before {char!r}' if char else ' at the end'}")
        start, self.position = self.position, name.end()
        options, options_column, children = "", 0, None
        if self.skip_space() == "{":
            options, options_column = self.options()
        elif self.skip_space() == "(":
            opened_at = self.position
            self.position += 1
            children = self.elements(")", opened_at)
        return Element(name[0], start + 1, options, options_column, children)

    def options(self) -> tuple[str, int]:
        start, depth, quote = self.position, 0, ""
        for position in range(start, len(self.text)):
            char = self.text[position]
            if quote:
                quote = "" if char == quote else quote
            elif char in _QUOTES:
                quote = char
            else:
                depth += {"{": 1, "}": -1}.get(char, 0)
            if not depth:
                self.position = position + 1
                return self.text[start + 1 : position], start + 2
        raise self.error("'{' is never closed")


def parse_pipeline(text: str) -> tuple[Element, ...]:
    """Parses a pipeline with or without the `builtin.module(...)` around it.

    Returns:
        The elements inside `builtin.module(...)`.

    Raises:
        PipelineError: the text is no pipeline.
    """
    elements = _Parser(text).elements("", 0)
    if len(elements) == 1 and elements[0].name == "builtin.module" and elements[0].children is not None:
        return elements[0].children
    return elements
