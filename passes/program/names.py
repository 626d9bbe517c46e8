"""Names of the ports and registers of `gradcam_top`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch_mlir import ir as mlir

from gradcam.passes.ir.attributes import NAME, decode
from gradcam.passes.ir.queries import is_argument, is_scalar, main_function
from gradcam.passes.program.nest import Nest
from gradcam.reserved import CPP, SYSTEM_VERILOG


def legal(name: str) -> str:
    """A name of a port that comes from the model: with an underscore where SystemVerilog or C++ reserves the word.

    CIRCT's export renames some of these words, and leaves `soft`, `global` and others as they are. Renamed here, a port
    is called the same in the RTL, in program.json and in the simulator, which is C++.
    """
    return f"{name}_" if name in SYSTEM_VERILOG | CPP else name


def registers_of(program: Sequence[Nest]) -> dict[mlir.Value, str]:
    """Names of the one-element buffers, from the nests that write them."""
    names: dict[mlir.Value, str] = {}
    for nest in program:
        for store in nest.stores:
            if is_scalar(store.memref) and not is_argument(store.memref) and store.memref not in names:
                stem = legal(re.sub(r"\W", "_", nest.name) or "register")
                taken = names.values()
                names[store.memref] = f"{stem}_q" if f"{stem}_q" not in taken else f"{stem}{len(names)}_q"
    return names


def argument_names(module: mlir.Module) -> list[str]:
    """The attribute `gradcam.name` of each argument of the function: the names of the top's streams and ports."""
    function = main_function(module)
    count = len(function.regions[0].blocks[0].arguments)
    names = [f"arg{i}" for i in range(count)]
    if "arg_attrs" in function.attributes:
        for i, attribute in enumerate(mlir.ArrayAttr(function.attributes["arg_attrs"])):
            entries = mlir.DictAttr(attribute)
            if NAME.key in entries:
                names[i] = legal(decode(entries[NAME.key]))
    return names
