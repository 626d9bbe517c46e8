"""`--verify-roundtrip`: whether a module that is written, as text and as bytecode, is read back as the same module."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any

from gradcam.errors import fail
from gradcam.passes.infra import contexts
from gradcam.passes.infra.diagnostics import from_exception

#: CIRCT's text form of hw.module has no locations of ports, which the generic form holds in this property.
_PORT_LOCATIONS = re.compile(r"result_locs = \[.*?\], |^#loc\d* = .*\n?", re.MULTILINE)


def verify_round_trip(module: Any) -> None:
    """Writes `module` as text and as bytecode, reads each into a fresh context, and compares their generic forms.

    Locations are compared, too, but for the text of a CIRCT module, which lacks some.

    Raises:
        GradcamError: what was written cannot be read back, or is read back as another module.
    """
    side = contexts.side_of(module)
    bytecode = io.BytesIO()
    module.operation.write_bytecode(bytecode)
    text = module.operation.get_asm(enable_debug_info=True).encode()
    for kind, data, locations in (("text", text, side == "mlir"), ("bytecode", bytecode.getvalue(), True)):
        context = contexts.make_context(side)
        context.allow_unregistered_dialects = module.context.allow_unregistered_dialects
        again = _read_back(module, kind, data, context)
        if difference := first_difference(_generic(module, locations), _generic(again, locations)):
            raise fail(module.operation, f"the module is read back from its {kind} as another one: {difference}")


def _read_back(module: Any, kind: str, data: bytes, context: Any) -> Any:
    try:
        return contexts.parse_module(data, context)
    except Exception as error:
        faults = from_exception(error)
        if faults is None:
            raise
        reason = f": {faults[0].first_line}" if faults else ""
        raise fail(module.operation, f"the module cannot be read back from its {kind}{reason}") from error


def _generic(module: Any, locations: bool) -> str:
    text = module.operation.get_asm(print_generic_op_form=True, enable_debug_info=locations)
    return text if locations else _PORT_LOCATIONS.sub("", text)


def first_difference(written: str, read: str) -> str:
    """The first line in which two texts differ, "" for equal texts."""
    for line, other in itertools.zip_longest(written.splitlines(), read.splitlines(), fillvalue="the end"):
        if line != other:
            return f"{line.strip()}, read as {other.strip()}"
    return ""
