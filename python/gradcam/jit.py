"""Runs integer modules on the CPU: linalg on tensors (level 3) and scheduled affine on memrefs (level 4)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import linalg
from torch_mlir.execution_engine import ExecutionEngine
from torch_mlir.passmanager import PassManager
from torch_mlir.runtime import get_ranked_memref_descriptor

from gradcam.errors import GradcamError

_BUFFERIZE = (
    "one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map}",
    "buffer-results-to-out-params{hoist-static-allocs modify-public-functions}",
    "canonicalize",
    "cse",
)
_FREE = ("buffer-deallocation-pipeline",)
_LOOPS_TO_LLVM = (
    "lower-affine",
    "convert-scf-to-cf",
    "expand-strided-metadata",
    "lower-affine",
    "convert-to-llvm",
    "reconcile-unrealized-casts",
    "canonicalize",
    "cse",
)

#: A compiled `@main`: takes the input arrays, returns the outputs in their order.
Executable = Callable[..., list[np.ndarray]]


def compile_linalg(module: ir.Module, optimize: int = 3) -> Executable:
    """Compiles `@main` of a module of linalg on tensors; the module is not changed.

    Args:
        module: `@main` takes and returns tensors of integers or floats with static shapes.
        optimize: LLVM's optimization level, 0 to 3.

    Returns:
        A function of NumPy arrays, one per argument with its exact shape and type, to a list with one per result.

    Raises:
        GradcamError: there is no `@main`, or the module does not lower.
    """
    with module.context:
        module = _clone(module)
        inputs = len(_main(module).arguments)
        _run(module, _BUFFERIZE)
        _replace_copies(module)
        _run(module, (*_FREE, "convert-linalg-to-loops"))
        return _compile(module, inputs, optimize)


def compile_affine(module: ir.Module, inputs: int, optimize: int = 3) -> Executable:
    """Compiles `@main` of a module of affine loops on memrefs; the module is not changed.

    Args:
        module: `@main` takes memrefs with static shapes, the inputs and then the outputs, which it fills.
        inputs: the number of arguments that are inputs.
        optimize: LLVM's optimization level, 0 to 3.

    Returns:
        As for `compile_linalg`.

    Raises:
        GradcamError: there is no `@main`, or the module does not lower.
    """
    with module.context:
        module = _clone(module)
        _replace_copies(module)
        _run(module, ("convert-linalg-to-loops", "lower-affine", *_FREE))
        return _compile(module, inputs, optimize)


def run_linalg(module: ir.Module, *arrays: np.ndarray) -> list[np.ndarray]:
    """Compiles and runs `@main` once; see `compile_linalg`."""
    return compile_linalg(module)(*arrays)


def run_affine(module: ir.Module, *arrays: np.ndarray) -> list[np.ndarray]:
    """Compiles and runs `@main` once, with `arrays` as its inputs; see `compile_affine`."""
    return compile_affine(module, len(arrays))(*arrays)


def _clone(module: ir.Module) -> Any:
    with ir.Location.unknown():
        copy = ir.Module.create()
        for op in module.body.operations:
            copy.body.append(op.operation.clone())
    return copy


def _main(module: Any) -> Any:
    symbols = ir.SymbolTable(module.operation)
    if "main" not in symbols:
        raise GradcamError("the module has no function @main to run")
    return symbols["main"]


def _run(module: Any, passes: Sequence[str]) -> None:
    try:
        PassManager.parse(f"builtin.module({','.join(passes)})").run(module.operation)
    except ir.MLIRError as error:
        raise GradcamError(f"the module cannot be compiled for the CPU: {error}") from error


def _replace_copies(module: Any) -> None:
    """Replaces memref.copy by a loop: for a part of a buffer LLVM's lowering calls a C library that the wheel lacks."""
    copies: list[ir.Operation] = []

    def collect(op: ir.Operation) -> ir.WalkResult:
        if op.name == "memref.copy":
            copies.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect)
    for op in copies:
        with op.location, ir.InsertionPoint(op):
            linalg.copy(op.operands[0], outs=[op.operands[1]])
        op.erase()


def _compile(module: Any, inputs: int, optimize: int) -> Executable:
    function = _main(module)
    types = [ir.MemRefType(a.type) for a in function.arguments]
    if inputs > len(types):
        raise GradcamError(f"@main has {len(types)} arguments, fewer than the {inputs} inputs")
    formats = [_array_format(t) for t in types]
    function.attributes["llvm.emit_c_interface"] = ir.UnitAttr.get()
    _run(module, _LOOPS_TO_LLVM)
    engine = ExecutionEngine(module, opt_level=optimize)

    def execute(*arrays: np.ndarray) -> list[np.ndarray]:
        _check(arrays, formats[:inputs])
        outputs = [np.zeros(shape, dtype) for shape, dtype in formats[inputs:]]
        buffers = [np.ascontiguousarray(a) for a in arrays] + outputs
        descriptors = [get_ranked_memref_descriptor(b) for b in buffers]
        engine.invoke("main", *(ctypes.pointer(ctypes.pointer(d)) for d in descriptors))
        return outputs

    return execute


def _array_format(type_: ir.MemRefType) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the NumPy array for a buffer."""
    element = type_.element_type
    if isinstance(element, ir.F32Type):
        return tuple(type_.shape), np.dtype(np.float32)
    if not isinstance(element, ir.IntegerType) or element.width not in (8, 16, 32, 64):
        raise GradcamError(f"an argument or result of type {type_} has no NumPy array")
    return tuple(type_.shape), np.dtype(f"int{element.width}")


def _check(arrays: Sequence[np.ndarray], formats: Sequence[tuple[tuple[int, ...], np.dtype]]) -> None:
    if len(arrays) != len(formats):
        raise GradcamError(f"@main has {len(formats)} inputs, got {len(arrays)} arrays")
    for index, (array, (shape, dtype)) in enumerate(zip(arrays, formats, strict=True)):
        if array.shape != shape or array.dtype != dtype:
            raise GradcamError(f"input {index} must be {dtype} {shape}, got {array.dtype} {array.shape}")
