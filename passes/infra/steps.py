"""The steps of a pass manager: a project pass, an upstream pass, or a user's callable."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gradcam.errors import GradcamError
from gradcam.outside import captured
from gradcam.passes.infra import contexts, registry
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.infra.pass_options import format_pass

_LLVM_OPTION = re.compile(r"^: for the --([\w-]+) option: (.*)$", re.MULTILINE)


class Step(Protocol):
    """One pass of a pipeline."""

    @property
    def name(self) -> str:
        """The pass's name for users, without options."""
        ...

    @property
    def anchors(self) -> tuple[str, ...]:
        """Ops that the pass is nested in, below `builtin.module`."""
        ...

    @property
    def text(self) -> str:
        """Name and options, without anchors."""
        ...

    @property
    def preserves(self) -> Sequence[Callable[[Any], Any]]:
        """The analyses that still hold after the step has run."""
        ...

    def run(self, module: Any, verify: bool) -> Any:
        """Runs the step, and verifies and returns the result: `module` itself or a module of the other side."""
        ...


@dataclass(frozen=True)
class ProjectStep:
    """A `Pass` of the registry or of the user."""

    pass_: Pass
    anchors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The pass's name."""
        return self.pass_.name

    @property
    def text(self) -> str:
        """Name and all options."""
        return format_pass(self.pass_)

    @property
    def preserves(self) -> Sequence[Callable[[Any], Any]]:
        """The analyses that the pass preserves."""
        return self.pass_.preserves

    def run(self, module: Any, verify: bool) -> Any:
        """Runs the pass inside the module's context."""
        if contexts.side_of(module) != self.pass_.source:
            raise GradcamError(f"runs on {self.pass_.source} modules, this is a {contexts.side_of(module)} module")
        registry.check_input(self.name, module)
        return _run_python(self.pass_.run, module, verify)


@dataclass(frozen=True)
class UpstreamStep:
    """One upstream pass, run by the pass manager of the side that the module is on."""

    name: str
    options: str = ""
    anchors: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Name and options as they were written."""
        return f"{self.name}{{{self.options}}}" if self.options else self.name

    @property
    def preserves(self) -> Sequence[Callable[[Any], Any]]:
        """No analysis: upstream passes do not know the project's."""
        return ()

    @property
    def pipeline(self) -> str:
        """The whole pipeline that upstream's pass manager is given."""
        return nest(self.text, ("builtin.module", *self.anchors))

    def parse(self, side: str, context: Any) -> Any:
        """Upstream's pass manager for this pass; raises ValueError if upstream does not take it."""
        with captured() as printed:  # LLVM prints what is wrong with an option, and raises something else
            try:
                return contexts.upstream_pass_manager(side).parse(self.pipeline, context)
            except ValueError as error:
                option = _LLVM_OPTION.search(printed())
                if option is None:
                    raise
                raise ValueError(f"error: option '{option[1]}': {option[2]}") from error

    def run(self, module: Any, verify: bool) -> Any:
        """Runs the pass; upstream verifies."""
        side = contexts.side_of(module)
        try:
            manager = self.parse(side, module.context)
        except ValueError as error:
            reason = "" if is_unknown_pass(error) else f": {upstream_reason(error)}"
            raise GradcamError(f"does not run on {side} modules{reason}") from error
        manager.enable_verifier(verify)
        manager.run(module.operation)
        return module


@dataclass(frozen=True)
class CallableStep:
    """A user's Python function that takes the module and changes it in place, or returns another one."""

    function: Callable[[Any], Any]
    anchors: tuple[str, ...] = field(default=(), init=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def text(self) -> str:
        """The function's name in a form that no parser accepts as a pass."""
        return f"<python {self.name}>"

    @property
    def preserves(self) -> Sequence[Callable[[Any], Any]]:
        """No analysis: the function may change anything."""
        return ()

    def run(self, module: Any, verify: bool) -> Any:
        """Calls the function inside the module's context."""
        return _run_python(self.function, module, verify)


def _run_python(function: Callable[[Any], Any], module: Any, verify: bool) -> Any:
    with module.context:
        result = function(module)
    result = module if result is None else result
    contexts.side_of(result)  # refuses what is no module
    if verify:
        result.operation.verify()
    return result


def nest(text: str, anchors: tuple[str, ...]) -> str:
    """`text` inside `anchors`, the first outermost: `func.func(cse)`."""
    return "".join(f"{anchor}(" for anchor in anchors) + text + ")" * len(anchors)


def is_unknown_pass(error: ValueError) -> bool:
    """Whether upstream's pipeline parser failed because the pass does not exist."""
    return "does not refer to a registered pass" in str(error)


def upstream_reason(error: ValueError) -> str:
    """The relevant line of an error of upstream's pipeline parser."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].partition("error: ")[2] or lines[0] if lines else "upstream gives no reason"
