"""Ports of modules: names that know their bits, and the bundles in which they come."""

from __future__ import annotations

from dataclasses import dataclass


class Signal(str):
    """The name of a port, which knows the port's bits: a key of the dictionaries that hold a module's values."""

    __slots__ = ("bits",)
    bits: int

    def __new__(cls, name: str, bits: int = 1) -> Signal:
        """A port of `bits` bits."""
        signal = super().__new__(cls, name)
        signal.bits = bits
        return signal

    def of(self, owner: str) -> Signal:
        """The port outside the module `owner`, whose name it has in front there."""
        return Signal(f"{owner}_{self}", self.bits)


@dataclass(frozen=True)
class Stream:
    """The ports of a valid/ready stream.

    Attributes:
        valid, data: driven by its source.
        ready: driven by its sink; a beat moves in a cycle in which `valid` and `ready` are 1.
    """

    valid: Signal
    data: Signal
    ready: Signal

    @staticmethod
    def of(name: str, bits: int) -> Stream:
        """The stream `name` with `bits` bits a beat."""
        return Stream(Signal(f"{name}_valid"), Signal(f"{name}_data", bits), Signal(f"{name}_ready"))


@dataclass(frozen=True)
class AxiStream:
    """The ports of an AXI4-Stream.

    Attributes:
        tvalid, tdata: driven by its source.
        tkeep: a bit per byte of a beat; tlast: 1 with the last beat of a packet; both from the source.
        tready: driven by its sink.
    """

    tvalid: Signal
    tdata: Signal
    tkeep: Signal
    tlast: Signal
    tready: Signal

    @staticmethod
    def of(name: str, bits: int) -> AxiStream:
        """The stream `name` with `bits` bits a beat, whole bytes."""
        ends = (("tvalid", 1), ("tdata", bits), ("tkeep", bits // 8), ("tlast", 1), ("tready", 1))
        return AxiStream(*(Signal(end, width).of(name) for end, width in ends))
