"""The attributes of level 4: the meaning and type of each one, and the pass that writes it.

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
    """The Python data of an attribute, the inverse of `encode`."""
    if isinstance(attribute, ir.DictAttr):
        return {entry.name: decode(entry.attr) for entry in attribute}
    if isinstance(attribute, ir.ArrayAttr):
        return [decode(entry) for entry in attribute]
    return getattr(attribute, "value", attribute)


@dataclass(frozen=True)
class Attribute(Generic[Value]):
    """The declaration of an attribute.

    Attributes:
        name: its name without `gradcam.`.
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
        """Whether `op` has the attribute."""
        return self.key in op.attributes

    def find(self, op: Any) -> Value | None:
        """The attribute's value on `op`; None where `op` does not have it."""
        return decode(op.attributes[self.key]) if self.key in op.attributes else None

    def get(self, op: Any) -> Value:
        """The attribute's value on `op`.

        Raises:
            GradcamError: `op` does not have the attribute, as its writer has not run, or it is of another type.
        """
        if self.key not in op.attributes:
            raise fail(op, f"the {self.holder} has no '{self.key}'; run {self.writer} first")
        value = decode(op.attributes[self.key])
        if isinstance(self.type, type) and not isinstance(value, self.type):
            raise fail(op, f"'{self.key}' must be of type {self.type.__name__}, got {op.attributes[self.key]}")
        return value

    def set(self, op: Any, value: Value) -> None:
        """Sets the attribute of `op`, whose context must be the current one."""
        op.attributes[self.key] = encode(value)


# Of the module.

#: The platform to compile for: `pe`, and optionally `dram` (width, outstanding, latency), `resident`, `family`, `mhz`.
PLATFORM = Attribute("platform", "module", "gradcam-set-platform", dict)
#: Maps with adjacent pixels side by side in their channels, by name: rows and columns of them, and channels of each.
PIXELS = Attribute("pixels", "module", "gradcam-group-pixels", dict)
#: Kernel rows and columns of the first convolution that were moved into its channels.
STEM = Attribute("stem", "module", "gradcam-unfold-stem", list)
#: Banks by name: lanes, bits per lane, words, and whether they are constant.
BANKS = Attribute("banks", "module", "gradcam-plan-memory", dict)
#: The bank that is a ring of weights from DRAM; none where all weights are on chip.
WEIGHT_STREAM = Attribute("weight_stream", "module", "gradcam-stream-weights", str)
#: Pairs (cycle, words of the ring of weights that are requested and not read for the last time, in beats).
RING_LEVELS = Attribute("ring_levels", "module", "gradcam-assign-cycles", list)
#: Predicted cycles by phase, and their total.
CYCLES_BY_PHASE = Attribute("cycles", "module", "gradcam-assign-cycles", dict)

# Of an argument of the function.

#: The name of the stream or port that the argument becomes.
NAME = Attribute("name", "argument", "convert-linalg-to-affine", str)
#: What is done to the image before it enters the function, at levels 1 and 2: (image - mean) / std, by channel.
NORMALIZATION = Attribute("normalization", "argument", "gradcam-fold-normalization", dict)

# Of a buffer.

#: The bank that holds the buffer.
BANK = Attribute("bank", "buffer", "gradcam-plan-memory", str)
#: The start of the buffer in its bank, in words; for weights from DRAM, the position in the weight stream.
OFFSET = Attribute("offset", "buffer", "gradcam-plan-memory", int)
#: Elements of the ring that holds the buffer, a power of two of words: element i lies at i modulo the ring.
RING = Attribute("ring", "buffer", "gradcam-overlap-nests", int)

# Of a nest.

#: The nest's time loops, outermost first, as a schedule file names them.
LOOPS = Attribute("loops", "nest", "gradcam-choose-schedule", list)
#: The name of the engine that runs the nest.
ENGINE = Attribute("engine", "nest", "gradcam-form-engines", str)
#: The number of the nest's epilogue among the epilogues of its engine.
EPILOGUE = Attribute("epilogue", "nest", "gradcam-form-engines", str)
#: The number of the producer's outer loops whose iterations are counted as they are committed, for its follower.
COUNTED = Attribute("counted", "nest", "gradcam-overlap-nests", int)
#: Over the follower's gated loops, the number of committed iterations of its producer that an iteration needs.
FOLLOWS = Attribute("follows", "nest", "gradcam-overlap-nests", ir.AffineMap)
#: The phase that the nest belongs to: load, inference, explanation or store.
PHASE = Attribute("phase", "nest", "gradcam-assign-cycles", str)
#: The cycle in which the nest is issued.
START = Attribute("start", "nest", "gradcam-assign-cycles", int)
#: The earliest cycle in which this nest allows the next issue group to be issued.
END = Attribute("end", "nest", "gradcam-assign-cycles", int)
#: The cycles from `gradcam.end` on for which the nest's pipeline still works.
DRAIN = Attribute("drain", "nest", "gradcam-assign-cycles", int)
#: The cycles that the nest adds to its phase.
CYCLES = Attribute("cycles", "nest", "gradcam-assign-cycles", int)
#: The cycles that the nest waits for words of an ideal DRAM.
STALLS = Attribute("stalls", "nest", "gradcam-assign-cycles", int)
#: The cycles in which an ideal DRAM delivers the first and the last beat of the nest's weights.
BEATS = Attribute("beats", "nest", "gradcam-assign-cycles", list)

# Of an op inside a nest.

#: The pipeline stage in which the op starts, in cycles from the step.
STAGE = Attribute("stage", "op", "gradcam-assign-cycles", int)
#: The cycles that the op takes, where they differ from `gradcam.passes.program.clock.LATENCY`.
LATENCY = Attribute("latency", "op", "gradcam-assign-cycles", int)
#: Of a sum over lanes: the products that each of its cascades of DSP slices adds up.
CASCADE = Attribute("cascade", "op", "gradcam-assign-cycles", int)
