"""Ports of modules: names with a width, and bundles of them for streams."""

from __future__ import annotations

from dataclasses import dataclass


class Signal(str):
    """The name of a port with the port's bits, used as a key of the dictionaries of a module's values."""

    __slots__ = ("bits",)
    bits: int

    def __new__(cls, name: str, bits: int = 1) -> Signal:
        """Creates the name of a port of `bits` bits."""
        signal = super().__new__(cls, name)
        signal.bits = bits
        return signal

    def of(self, owner: str) -> Signal:
        """The signal for this port of the module `owner` in the module around it, with the owner's name as a prefix."""
        return Signal(f"{owner}_{self}", self.bits)


@dataclass(frozen=True)
class Stream:
    """The ports of a valid/ready stream.

    Attributes:
        valid, data: driven by the source.
        ready: driven by the sink; a beat is transferred in a cycle in which `valid` and `ready` are 1.
    """

    valid: Signal
    data: Signal
    ready: Signal

    @staticmethod
    def of(name: str, bits: int) -> Stream:
        """The stream `name` with `bits` bits per beat."""
        return Stream(Signal(f"{name}_valid"), Signal(f"{name}_data", bits), Signal(f"{name}_ready"))


@dataclass(frozen=True)
class AxiStream:
    """The ports of an AXI4-Stream.

    Attributes:
        tvalid, tdata: driven by the source.
        tkeep: a bit per byte of a beat, driven by the source.
        tlast: 1 in the last beat of a packet, driven by the source.
        tready: driven by the sink.
    """

    tvalid: Signal
    tdata: Signal
    tkeep: Signal
    tlast: Signal
    tready: Signal

    @staticmethod
    def of(name: str, bits: int) -> AxiStream:
        """The stream `name` with `bits` bits per beat, a multiple of 8."""
        ends = (("tvalid", 1), ("tdata", bits), ("tkeep", bits // 8), ("tlast", 1), ("tready", 1))
        return AxiStream(*(Signal(end, width).of(name) for end, width in ends))
