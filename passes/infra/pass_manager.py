"""Pipelines of project, upstream and users' own passes, on both MLIR copies.

manager = PassManager.parse("builtin.module(canonicalize,gradcam-quantize)").add(my_function)
module = manager.run(module)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from gradcam.errors import GradcamError, did_you_mean
from gradcam.passes.infra import contexts, registry
from gradcam.passes.infra.analyses import forgetting, invalidate, keeping
from gradcam.passes.infra.diagnostics import Diagnostic, from_exception
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.infra.pass_options import OptionError, make_pass
from gradcam.passes.infra.pipeline_parser import Element, PipelineError, parse_pipeline
from gradcam.passes.infra.steps import (
    CallableStep,
    ProjectStep,
    Step,
    UpstreamStep,
    is_unknown_pass,
    nest,
    upstream_reason,
)


class PassFailure(GradcamError):
    """A pass that could not transform its input, or left invalid IR.

    Attributes:
        pass_name: the pass.
        diagnostics: its diagnostics, as for `MLIRError`; empty where the context emits errors to its handlers.
    """

    def __init__(self, pass_name: str, diagnostics: Sequence[Diagnostic], location: Any = None) -> None:
        reason = f": {diagnostics[0].first_line}" if diagnostics else ""
        super().__init__(f"pass '{pass_name}' failed{reason}", location)
        self.pass_name = pass_name
        self.diagnostics = list(diagnostics)


class Instrumentation:
    """Base class of instrumentations of a pass manager; a subclass overrides the events that it needs."""

    def before(self, name: str, module: Any) -> None:
        """Called before the pass `name` runs."""

    def after(self, name: str, module: Any, seconds: float) -> None:
        """Called after the pass `name` ran for `seconds` (its verification included); `module` is its result."""

    def failed(self, step: Step, module: Any) -> None:
        """Called when `step` failed; `module` is in whatever state it was left in."""


class PassManager:
    """Runs passes one after the other; see the module's docstring.

    Upstream passes are run one by one too, so that each can be watched, timed and named when it fails.
    """

    def __init__(self, verify_each: bool = True) -> None:
        """Makes an empty pipeline; `verify_each` verifies the module after every pass."""
        self.verify_each = verify_each
        self._steps: list[Step] = []
        self._instrumentations: list[Instrumentation] = []
        self._side: str | None = None  # of the last step's result; None while both are possible
        self._source: str | None = None
        self._crossed_by = ""

    @classmethod
    def parse(cls, text: str, verify_each: bool = True) -> PassManager:
        """Makes a pass manager from `builtin.module(...)`, or from the text between its parentheses.

        Raises:
            PipelineError: the text is no pipeline, or names passes or options that do not exist.
        """
        return cls(verify_each).add(text)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The passes, flat: each with the anchors that it is nested in."""
        return tuple(self._steps)

    @property
    def source(self) -> str | None:
        """The side of the modules that the pipeline takes; None if both fit, or if a callable comes first."""
        return self._source

    def add(self, what: str | Pass | type[Pass] | Callable[[Any], Any]) -> PassManager:
        """Appends a pipeline's text, a pass (a class: with default options), or a callable that takes the module.

        Returns:
            The pass manager itself.

        Raises:
            PipelineError: the text is no pipeline.
            GradcamError: `what` is nothing of these, a class needs options, or the pass cannot run where the pipeline
                has led the module.
        """
        if isinstance(what, str):
            self._add_elements(parse_pipeline(what), ())
        elif isinstance(what, Pass) or (isinstance(what, type) and issubclass(what, Pass)):
            registry.check_name(what if isinstance(what, type) else type(what))
            self._add_project(ProjectStep(make_pass(what, "") if isinstance(what, type) else what))
        elif not callable(what):
            raise GradcamError(f"a pipeline is made of texts, passes and callables, got {type(what).__name__}")
        else:
            self._steps.append(CallableStep(what))
            self._side = None  # it may cross
        return self

    def instrument(self, instrumentation: Instrumentation) -> PassManager:
        """Has `instrumentation` called around every pass; returns the pass manager itself."""
        self._instrumentations.append(instrumentation)
        return self

    def run(self, module: Any, *watchers: Instrumentation) -> Any:
        """Runs the pipeline on `module`.

        Args:
            module: of either side.
            watchers: instrumentations for this run only.

        Returns:
            The same module, or the one of the other side that a crossing pass made.

        Raises:
            PassFailure: a pass failed. The module is left as the pass left it.
            GradcamError: `module` is no MLIR module.
        """
        contexts.side_of(module)
        with keeping():
            for step in self._steps:
                try:
                    # A step that preserves nothing may change the module, and then run passes of its own.
                    with nullcontext() if step.preserves else forgetting():
                        module = self._run_step(step, module, [*self._instrumentations, *watchers])
                finally:
                    invalidate(step.preserves)
        return module

    def __str__(self) -> str:
        groups = itertools.groupby(self._steps, key=lambda step: step.anchors)
        return nest(
            ",".join(nest(",".join(s.text for s in steps), anchors) for anchors, steps in groups), ("builtin.module",)
        )

    def _run_step(self, step: Step, module: Any, watchers: Sequence[Instrumentation]) -> Any:
        for watcher in watchers:
            watcher.before(step.name, module)
        start = time.perf_counter()
        try:
            result = step.run(module, self.verify_each)
        except Exception as error:
            for watcher in watchers:
                watcher.failed(step, module)
            failure = _failure(step, module, error)
            if failure is None:  # a bug, not a refusal: keep its traceback
                error.add_note(f"in pass '{step.name}'")
                raise
            raise failure from error
        seconds = time.perf_counter() - start
        for watcher in watchers:
            watcher.after(step.name, result, seconds)
        return result

    def _add_elements(self, elements: Sequence[Element], anchors: tuple[str, ...]) -> None:
        for element in elements:
            if element.children is not None:
                self._add_elements(element.children, (*anchors, element.name))
            elif element.name in registry.PIPELINES:
                self._add_pipeline(element, anchors)
            elif registry.is_pass(element.name):
                if anchors:
                    raise PipelineError(
                        f"pass '{element.name}' runs on a whole module, not inside '{anchors[-1]}'", element.column
                    )
                self._add_project(ProjectStep(_make_pass(element)), element.column)
            else:
                self._add_upstream(UpstreamStep(element.name, element.options.strip(), anchors), element.column)

    def _add_pipeline(self, element: Element, anchors: tuple[str, ...]) -> None:
        if element.options:
            raise PipelineError(f"pipeline '{element.name}' takes no options", element.options_column)
        try:
            self._add_elements(parse_pipeline(",".join(registry.PIPELINES[element.name])), anchors)
        except PipelineError as error:
            raise PipelineError(f"in pipeline '{element.name}': {error.reason}", element.column) from error

    def _add_project(self, step: ProjectStep, column: int | None = None) -> None:
        source, target = step.pass_.source, step.pass_.target
        if self._side not in (None, source):
            reason = self._wrong_side(step, source)
            raise GradcamError(reason) if column is None else PipelineError(reason, column)
        if source != target:
            self._crossed_by = step.name
        self._starts_on(source)
        self._side = target
        self._steps.append(step)

    def _add_upstream(self, step: UpstreamStep, column: int) -> None:
        errors = {}
        for side in (self._side,) if self._side else contexts.SIDES:
            try:
                step.parse(side, contexts.bindings(side).Context())
            except ValueError as error:
                errors[side] = error
            else:
                break
        else:
            raise PipelineError(self._why_not(step, errors), column)
        if errors:  # only the last side takes it
            self._side = contexts.SIDES[-1]
            self._starts_on(self._side)
        self._steps.append(step)

    def _starts_on(self, side: str) -> None:
        if self._source is None and not any(isinstance(step, CallableStep) for step in self._steps):
            self._source = side

    def _why_not(self, step: UpstreamStep, errors: dict[str, ValueError]) -> str:
        """The reason why `step` runs on none of the sides that the module can be on."""
        known = [error for error in errors.values() if not is_unknown_pass(error)]
        if known:
            return f"pass '{step.name}': {upstream_reason(known[0])}"
        for side in contexts.SIDES:
            if side not in errors and _takes(step, side):
                return self._wrong_side(step, side)
        return f"unknown pass '{step.name}'" + did_you_mean(step.name, registry.suggestions())

    def _wrong_side(self, step: Step, wanted: str) -> str:
        since = f" (since '{self._crossed_by}')" if self._crossed_by else ""
        return f"pass '{step.name}' runs on {wanted} modules, here the module is {self._side}{since}"


def _takes(step: UpstreamStep, side: str) -> bool:
    try:
        step.parse(side, contexts.bindings(side).Context())
    except ValueError as error:
        return not is_unknown_pass(error)
    return True


def _make_pass(element: Element) -> Pass:
    try:
        return make_pass(registry.lookup(element.name), element.options)
    except OptionError as error:
        column = element.options_column + error.offset if element.options else element.column
        raise PipelineError(error.message, column) from error
    except GradcamError as error:
        raise PipelineError(error.message, element.column) from error


def _failure(step: Step, module: Any, error: Exception) -> PassFailure | None:
    """The failure to raise for `error`; None if it is no report on the user's input.

    A project pass's error becomes a diagnostic at its location where the context emits errors, as upstream's do.
    """
    diagnostics = from_exception(error)
    if diagnostics is None:
        return None
    location = getattr(error, "location", None)
    if isinstance(error, GradcamError) and module.context.emit_error_diagnostics:
        with module.context:
            (location or contexts.bindings(contexts.side_of(module)).Location.unknown()).emit_error(error.message)
        diagnostics = []
    return PassFailure(step.name, diagnostics, location)
