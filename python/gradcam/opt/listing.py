"""The listings of `gradcam-opt`: passes with their documentation, dialects of both contexts."""

from __future__ import annotations

import inspect
import re
import textwrap
from importlib import metadata

from gradcam.errors import GradcamError, did_you_mean
from gradcam.passes.infra import contexts, registry
from gradcam.passes.infra.pass_options import option_help


def versions() -> str:
    """The versions of the package and of both MLIRs, one to a line."""
    packages = {"gradcam-mlir": "gradcam-mlir", "torch-mlir": "torch-mlir", "CIRCT (of PyCDE)": "pycde"}
    return "\n".join(f"{name} {metadata.version(package)}" for name, package in packages.items())


def describe(name: str) -> str:
    """The documentation of one pass or pipeline.

    Raises:
        GradcamError: the project and its plugins have none of this name.
    """
    if name in registry.PIPELINES:
        return ",".join(registry.PIPELINES[name])
    if registry.is_pass(name):
        return f"{name}\n{textwrap.indent(_describe(name), '  ')}"
    if any(name in names for names in registry.UPSTREAM_PASSES.values()):
        raise GradcamError(f"'{name}' is a pass of upstream MLIR or CIRCT, which document it")
    raise GradcamError(f"unknown pass '{name}'{did_you_mean(name, registry.suggestions())}")


def list_passes() -> str:
    """All passes: the project's with docstring and options, the pipelines, and those of upstream that are suggested."""
    lines = ["Passes:", ""]
    for name in registry.pass_names():
        lines += [f"  {name}", textwrap.indent(_describe(name), "    "), ""]
    lines += ["Pipelines:", ""]
    for name, passes in registry.PIPELINES.items():
        lines += [f"  {name}", f"    {','.join(passes)}", ""]
    lines += ["Upstream passes: any of MLIR's, and on hw modules any of CIRCT's, such as", ""]
    for side, names in registry.UPSTREAM_PASSES.items():
        lines += [textwrap.fill(f"{side}: {', '.join(names)}", 100, initial_indent="  ", subsequent_indent="    "), ""]
    return "\n".join(lines)


def _describe(name: str) -> str:
    try:
        cls = registry.lookup(name)
    except GradcamError as error:
        return f"(not available: {error})"
    text = inspect.getdoc(cls) or ""
    if cls.source != cls.target:
        text += f"\n\nTakes {cls.source} modules, makes {cls.target} modules."
    options = option_help(cls)
    return text + ("\n\nOptions:\n  " + "\n  ".join(options) if options else "")


def show_dialects() -> str:
    """The dialects that each side can parse."""
    return "\n".join(f"{side}: {', '.join(_dialects(side))}" for side in contexts.SIDES)


def _dialects(side: str) -> list[str]:
    """Asks the parser: the bindings cannot list dialects, but its message on an unknown one does."""
    ir = contexts.bindings(side)
    try:
        ir.Module.parse("unknown_dialect.op", contexts.make_context(side))
    except ir.MLIRError as error:
        names = re.search(r"Available dialects: (.*?)(?: \(\* corresponding.*)?;", str(error))
        if names:
            return [name.removesuffix(" (*)") for name in names[1].split(", ")]
    raise GradcamError(f"the {side} side does not tell its dialects")
