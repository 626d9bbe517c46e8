"""The attributes of level 4: what each one says, of which type it is, and which pass writes it.

They are discardable attributes `gradcam.NAME` of the module, its function's arguments, buffers (`memref.alloc` and
`memref.get_global`), nests (the outermost `affine.for`) and ops inside nests. Nothing else spells their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch_mlir import ir

from gradcam.errors import fail

Value = TypeVar("Value")


def _integer(value: int) -> ir.Attribute:
    return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)


def encode(value: Any) -> ir.Attribute:
    """Python data as an attribute: bool, int (i64), float (f64), str, list, dict or affine map."""
    if isinstance(value, bool):
        return ir.BoolAttr.get(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return ir.FloatAttr.get(ir.F64Type.get(), value)
    if isinstance(value, str):
        return ir.StringAttr.get(value)
    if isinstance(value, Mapping):
        return ir.DictAttr.get({name: encode(entry) for name, entry in value.items()})
    if isinstance(value, Sequence):
        return ir.ArrayAttr.get([encode(entry) for entry in value])
    return ir.AffineMapAttr.get(value)


def decode(attribute: ir.Attribute) -> Any:
    """The Python data behind an attribute, as `encode` takes it."""
    if isinstance(attribute, ir.DictAttr):
        return {entry.name: decode(entry.attr) for entry in attribute}
    if isinstance(attribute, ir.ArrayAttr):
        return [decode(entry) for entry in attribute]
    return attribute.value


@dataclass(frozen=True)
class Attribute(Generic[Value]):
    """One of the attributes.

    Attributes:
        name: what follows `gradcam.`.
        holder: the kind of op that carries it, for messages.
        writer: the pass that sets it.
        type: the Python type of its value.
    """

    name: str
    holder: str
    writer: str
    type: Callable[..., Value]

    @property
    def key(self) -> str:
        """The attribute's name in IR."""
        return f"gradcam.{self.name}"

    def is_on(self, op: Any) -> bool:
        """Whether `op` carries it."""
        return self.key in op.attributes

    def find(self, op: Any) -> Value | None:
        """Its value on `op`, None where there is none."""
        return decode(op.attributes[self.key]) if self.key in op.attributes else None

    def get(self, op: Any) -> Value:
        """Its value on `op`.

        Raises:
            GradcamError: there is none, because the pass that writes it has not run, or it is of another type.
        """
        if self.key not in op.attributes:
            raise fail(op, f"the {self.holder} has no '{self.key}'; run {self.writer} first")
        value = decode(op.attributes[self.key])
        if isinstance(self.type, type) and not isinstance(value, self.type):
            raise fail(op, f"'{self.key}' must be of type {self.type.__name__}, got {op.attributes[self.key]}")
        return value

    def set(self, op: Any, value: Value) -> None:
        """Writes it; the context of `op` must be the current one."""
        op.attributes[self.key] = encode(value)


# Of the module.

#: The platform to compile for: `pe`, and where they are given `dram` (width, outstanding, latency) and `clock` (mhz,
#: family).
PLATFORM = Attribute("platform", "module", "gradcam-set-platform", dict)
#: Kernel rows and columns of the first convolution that lie in its channels.
STEM = Attribute("stem", "module", "gradcam-unfold-stem", list)
#: Banks by name: lanes, bits per lane, words, and whether they are constant.
BANKS = Attribute("banks", "module", "gradcam-plan-memory", dict)
#: The bank that is a ring of weights from DRAM; none where all weights are on chip.
WEIGHT_STREAM = Attribute("weight_stream", "module", "gradcam-stream-weights", str)
#: Predicted cycles by phase, and their total.
CYCLES_BY_PHASE = Attribute("cycles", "module", "gradcam-assign-cycles", dict)

# Of an argument of the function.

#: The name of the stream or port that the argument becomes.
NAME = Attribute("name", "argument", "convert-linalg-to-affine", str)

# Of a buffer.

#: The bank that holds the buffer.
BANK = Attribute("bank", "buffer", "gradcam-plan-memory", str)
#: Where the buffer starts in its bank, in words; of weights from DRAM their position in the order of use.
OFFSET = Attribute("offset", "buffer", "gradcam-plan-memory", int)
#: Elements that are kept of a buffer, a power of two: element i lies at i modulo that.
RING = Attribute("ring", "buffer", "gradcam-overlap-nests", int)

# Of a nest.

#: Its time loops, outermost first, as a schedule file names them.
LOOPS = Attribute("loops", "nest", "gradcam-choose-schedule", list)
#: The engine that runs it.
ENGINE = Attribute("engine", "nest", "gradcam-form-engines", str)
#: Which of the engine's epilogues it has.
EPILOGUE = Attribute("epilogue", "nest", "gradcam-form-engines", str)
#: How many of its outer loops are counted as their iterations are written, for the nest that follows it.
COUNTED = Attribute("counted", "nest", "gradcam-overlap-nests", int)
#: Over its loops, how many counted iterations of its producer each of its iterations needs.
FOLLOWS = Attribute("follows", "nest", "gradcam-overlap-nests", ir.AffineMap)
#: load, inference, explanation or store.
PHASE = Attribute("phase", "nest", "gradcam-assign-cycles", str)
#: The cycle of its issue.
START = Attribute("start", "nest", "gradcam-assign-cycles", int)
#: The cycle in which the next nests may be issued, as far as this one is concerned.
END = Attribute("end", "nest", "gradcam-assign-cycles", int)
#: For how many cycles from then on its pipeline still works.
DRAIN = Attribute("drain", "nest", "gradcam-assign-cycles", int)
#: Cycles that it adds to its phase.
CYCLES = Attribute("cycles", "nest", "gradcam-assign-cycles", int)
#: Cycles that it waits for words of an ideal DRAM.
STALLS = Attribute("stalls", "nest", "gradcam-assign-cycles", int)

# Of an op inside a nest.

#: The pipeline stage in which the op starts, in cycles from the step.
STAGE = Attribute("stage", "op", "gradcam-assign-cycles", int)
#: Cycles that the op takes, where they are not those of `gradcam.passes.program.clock.LATENCY`.
LATENCY = Attribute("latency", "op", "gradcam-assign-cycles", int)
