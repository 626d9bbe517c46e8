"""`gradcam-opt --verify-roundtrip` and --mlir-disable-threading: what must be found, and what reaches a context."""

from __future__ import annotations

import io
from typing import Any

import pytest
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.opt import round_trip
from gradcam.opt.driver import Listener
from gradcam.passes.infra import contexts

SOURCE = """func.func @f(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %y = "gradcam.relu"(%x) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> loc("stem.relu")
  return %y : tensor<1x2x4x4xf32>
}"""


@pytest.fixture
def module() -> ir.Module:
    return ir.Module.parse(SOURCE, make_context())


def test_a_module_survives(module: ir.Module) -> None:
    round_trip.verify_round_trip(module)


def _reading(monkeypatch: pytest.MonkeyPatch, kind: str, change: Any) -> None:
    """Has what is written as `kind` read back with a change."""
    parse = contexts.parse_module

    def changed(data: bytes, context: Any) -> Any:
        return parse(change(data) if contexts.is_bytecode(data) == (kind == "bytecode") else data, context)

    monkeypatch.setattr(contexts, "parse_module", changed)


@pytest.mark.parametrize("old", [b"gradcam.relu", b"stem.relu"])  # an op, and its location
def test_another_module_from_the_text_is_found(module: ir.Module, monkeypatch: pytest.MonkeyPatch, old: bytes) -> None:
    new = old.replace(b"relu", b"abs")
    _reading(monkeypatch, "text", lambda data: data.replace(old, new))
    module.context.allow_unregistered_dialects = True
    with pytest.raises(GradcamError, match="from its text"):
        round_trip.verify_round_trip(module)


def test_unreadable_bytecode_is_found(module: ir.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    _reading(monkeypatch, "bytecode", lambda data: b"module { func.func @g( }")
    with pytest.raises(GradcamError, match="the module cannot be read back from its bytecode: ") as caught:
        round_trip.verify_round_trip(module)
    assert caught.value.location is not None


def test_the_first_difference_is_shown() -> None:
    assert round_trip.first_difference("a\n b\nc", "a\n b\nc") == ""
    assert round_trip.first_difference("a\n b\nc", "a\n d\nc") == "b, read as d"
    assert round_trip.first_difference("a\nb", "a") == "b, read as the end"


@pytest.mark.parametrize("side", contexts.SIDES)
def test_threading_is_disabled_and_never_enabled(side: str) -> None:
    """The bindings make contexts without threads, in which verifiers in Python would wait for each other for ever."""

    class Context:
        def __init__(self) -> None:
            self.calls: list[bool] = []

        def enable_multithreading(self, threads: bool) -> None:
            self.calls.append(threads)

        def attach_diagnostic_handler(self, handler: Any) -> None:
            pass

    for threads, calls in ((False, [False]), (True, [])):
        context = Context()
        Listener(print, threads, unregistered=False).attach(context)
        assert context.calls == calls
    Listener(print, False, False).attach(contexts.make_context(side))  # the bindings have such a method


def test_a_name_that_is_no_text_is_an_error_of_ours(module: ir.Module) -> None:
    bytecode = io.BytesIO()
    module.operation.write_bytecode(bytecode)
    damaged = bytecode.getvalue().replace(b"gradcam", b"gr\xffdcam")
    with pytest.raises(GradcamError, match="a name in the module is no text in UTF-8"):
        contexts.parse_module(damaged, make_context())
