"""The weight reader: an AXI4 read master that fills the ring with the weight stream, ahead of the engines."""

from __future__ import annotations

from typing import Any

from gradcam.passes.hw.builder import Builder, module
from gradcam.passes.hw.carries import select_sum
from gradcam.passes.hw.memory import memory_address_bits
from gradcam.passes.hw.signals import Signal
from gradcam.passes.hw.value import State, Value, bits_for
from gradcam.passes.program.clock import Clock
from gradcam.passes.program.weight_stream import WeightStream

#: Bits of the AXI4 signals ARADDR, ARLEN, ARSIZE, ARBURST and RRESP.
ADDRESS, LENGTH, SIZE, BURST, RESPONSE = 32, 8, 3, 2, 2

#: The identifier of all reads (ARID), and the only response (RRESP) without an error: OKAY.
IDENTIFIER, OKAY = 0, 0

#: i1 output: something was wrong with a beat of this run.
ERROR = Signal("error")

#: ARBURST of a burst with incrementing addresses (INCR).
INCREMENTING = 1


def axi_ports(width: int) -> tuple[list[Signal], list[Signal]]:
    """Inputs and outputs of a read master on the AXI4 read channels, with `width` bits of data."""
    inputs = [Signal("arready"), Signal("rvalid"), Signal("rdata", width), Signal("rresp", RESPONSE), Signal("rlast")]
    inputs += [Signal("rid")]
    outputs = [Signal("arvalid"), Signal("araddr", ADDRESS), Signal("arlen", LENGTH), Signal("arsize", SIZE)]
    return inputs, [*outputs, Signal("arburst", BURST), Signal("rready")]


def build_weight_reader(weights: WeightStream, nest_bits: int, symbols: dict[Any, int], clock: Clock) -> Any:
    """Builds the module `tape_reader`, which reads the weight stream.

    `go` restarts it at the beginning of the stream. `ready` is 1 while the ring holds a complete word that no engine
    has read yet. In each cycle an engine may read one such word for the first time (`fresh`) and free one word after
    its last read (`free`). Requests never exceed the free space in the ring, so `rready` is always 1.

    A beat belongs where the number of beats before it says, whatever its RLAST and RID are. `error` is 1 once a beat of
    this run had a response other than OKAY, an identifier that no read has, or RLAST in the wrong place. Beats that no
    read asked for are ignored.

    Args:
        weights: the weight stream, in segments.
        nest_bits: bits of `nest`, the number of the nest that runs. A segment that a symbol selects is requested when
            this number says that the symbol is known.
        symbols: bits of each symbolic term.
        clock: the clock of the design. With one, there is a register between what allows a request and the request, and
            ARADDR has its value a cycle before ARVALID is 1.
    """
    waits = any(segment.after for segment in weights.segments)
    requests, channel = axi_ports(weights.width)
    inputs = [Signal("go"), Signal("fresh"), Signal("free"), *requests]
    inputs += [Signal("nest", nest_bits)] if waits else []
    symbol_ports = {term: symbol_port(i, width) for i, (term, width) in enumerate(symbols.items())}
    inputs += symbol_ports.values()
    outputs = [Signal("ready"), ERROR, *channel]
    outputs += [Signal("wen", weights.memory_beats), Signal("waddr", memory_address_bits(weights.bank))]
    outputs += [Signal("wdata", weights.bank.memory_width)]

    def build(b: Builder, p: dict[str, Value]) -> dict[str, Value]:
        return _Reader(weights, b, p, symbol_ports, clock).outputs()

    comment = f"Reader of the weight tape: an AXI4 master with {weights.width} bits of data, ahead of the engines"
    return module("tape_reader", inputs, outputs, build, comment=comment)


def symbol_port(number: int, bits: int) -> Signal:
    """The input port of the symbolic term number `number`."""
    return Signal(f"symbol{number}", bits)


class _Reader:
    """The body of the weight reader."""

    def __init__(
        self, weights: WeightStream, b: Builder, p: dict[str, Value], symbols: dict[Any, Signal], clock: Clock
    ) -> None:
        self.weights, self.b, self.p, self.symbols = weights, b, p, symbols
        self.clock, self.crossing = clock, clock.crossing
        self.segments = weights.segments
        self.beats = [s.words * weights.word_beats for s in self.segments]
        self.room = b.state(bits_for(weights.bank.words * weights.word_beats + 1), "room")
        self.under_way = b.state(bits_for(weights.outstanding + 1), "under_way", reset=0)
        self.segment = b.state(bits_for(len(self.segments) + 1), "segment")
        self.left = b.state(bits_for(max(self.beats) + 1), "left", reset=0)
        self.burst = min(weights.burst, max(self.beats))
        #: Beats of the next request, and i1: it is the last one of its segment. Both follow from `left`; as registers
        #: they leave the cycle to what decides whether it can be sent.
        self.length = b.state(bits_for(self.burst + 1), "length")
        self.last = b.state(1, "last")
        #: The address of the next request, in bursts.
        last = self.segments[-1]
        whole = last.base + weights.stride(last) * last.alternatives
        self.burst_bytes = weights.burst * weights.width // 8
        self.address = b.state(bits_for(whole // self.burst_bytes + 2), "address")
        #: i1: there are requests under way, as a register.
        self.expects = b.state(1, "expects", reset=0)
        self.arrives = p["rvalid"] & self.expects

    def outputs(self) -> dict[str, Value]:
        """Builds the reader and returns its outputs by name."""
        b, p, weights = self.b, self.p, self.weights
        bits = max(self.length.width, self.room.width)
        length = self.length.zero_extend(bits)
        may = b.all_of(
            self.left.ne(0),
            length.ule(self.room.zero_extend(bits)),
            self.under_way.ne(weights.outstanding),
        )
        # Until a request is accepted, what allows it stays.
        asks = b.state(1, "asks", reset=0) if self.crossing else may & self._known()
        sent = asks & p["arready"]
        placed, adds = self._placed(sent & self.last)
        if isinstance(asks, State):
            asks.assign(b.all_of(may, placed, ~sent, ~p["go"]))
        self._next_burst(sent, adds, self._following(placed))
        self.room.assign(self._room_left(sent))
        ends = self._ends()
        answered = self.arrives & ends
        self.under_way.assign(counted(self.under_way, sent, answered))
        more = self.under_way.uge(2) if weights.outstanding > 1 else b.const(0, 1)
        self.expects.assign(sent | more | (self.expects & ~answered))
        bytes_ = weights.width // 8
        return {
            "arvalid": asks,
            "araddr": self._bytes(self.address if self.crossing else self.address + self._part()),
            "arlen": (self.length.zero_extend(LENGTH + 1) + -1)[:LENGTH],
            "arsize": b.const(bits_for(bytes_) if bytes_ > 1 else 0, SIZE),
            "arburst": b.const(INCREMENTING, BURST),
            "rready": b.const(1, 1),
            ERROR: self._error(ends),
            **self._arrival(),
        }

    def _next_burst(self, sent: Value, adds: Value, following: Value) -> None:
        """Assigns the position of the next request: the next burst of the segment or, after the last, a new segment.

        Args:
            sent: i1: a request is accepted.
            adds: i1: the address, and nothing else, becomes `following`.
            following: the address behind this request or, where `adds` is 1, that with the part of the symbol.
        """
        b, go, burst = self.b, self.p["go"], self.burst
        less = self.left - burst
        # The next request is the last one, too, where at most two bursts are left, this one and that.
        ends = self.left.ule(2 * burst) if 2 * burst < max(self.beats) else b.const(1, 1)
        rest = b.mux(ends, less[: self.length.width], burst)
        bases, none = [s.base // self.burst_bytes for s in self.segments], b.const(0, 1)
        for state, of, here, also in (
            (self.left, self.beats, less, none),
            (self.length, [min(beats, burst) for beats in self.beats], rest, none),
            (self.last, [int(beats <= burst) for beats in self.beats], ends, none),
            (self.address, bases, following, adds),
        ):
            begun = b.mux(go, of[0], b.table(self.segment, [*of[1:], 0, 0], state.width))
            state.assign(b.mux(go | (self.last & ~also), begun, here), b.any_of(go, sent, also))
        self.segment.assign(b.mux(go, 0, self.segment + 1), go | (sent & self.last))

    def _room_left(self, sent: Value) -> Value:
        """Free space in the ring after this cycle, in beats; in it a request may be `sent` (i1).

        What is added is chosen in front of the adder. With a clock the choices are those of the cycle before, as the
        length stays for a cycle before a request.
        """
        b, weights, bits = self.b, self.weights, self.room.width
        word, length = b.const(weights.word_beats, bits), self.length.zero_extend(max(bits, self.length.width))[:bits]
        less, both = (self._late(value, "change") for value in (b.const(0, bits) - length, word - length))
        change = b.mux(self.p["free"], b.mux(sent, both, word), b.mux(sent, less, 0))
        return b.mux(self.p["go"], weights.bank.words * weights.word_beats, self.room + change)

    def _known(self) -> Value:
        """i1: the symbol that selects an alternative of the segment is known."""
        if "nest" not in self.p:
            return self.b.const(1, 1)
        nest = self.p["nest"]
        after = self.b.table(self.segment, [*(s.after for s in self.segments), 0], nest.width)
        return nest.uge(after)

    def _picks(self) -> Value:
        """i1: a symbol selects an alternative of the segment."""
        return self.b.table(self.segment, [*(int(s.symbol is not None) for s in self.segments), 0], 1)

    def _placed(self, ended: Value) -> tuple[Value, Value]:
        """With a clock, i1: the address contains the part of the symbol; i1: it becomes so after this cycle.

        Args:
            ended: i1: the last request of a segment is accepted.
        """
        b, picks = self.b, self._picks()
        if not (self.crossing and self.symbols):
            return b.const(1, 1), b.const(0, 1)
        known, before = picks & self._known(), picks
        for _ in range(self.clock.placing):
            before, known = known, b.register(b.all_of(known, ~ended, ~self.p["go"]), "known")
        return known | ~picks, before & ~known

    def _following(self, placed: Value) -> Value:
        """The address behind this request; with a clock, as long as it is not `placed`, with the part of the symbol.

        With a clock it is that of the cycle before: the address stays for a cycle before a request, and for another one
        while the request is accepted.
        """
        b, width = self.b, self.address.width
        if not self.crossing:
            return self.address + 1
        more = b.mux(placed, b.const(1, width), self._part()) if self.symbols else b.const(1, width)
        return select_sum(b, self.address, more, "following", self.clock.pieces(width))

    def _part(self) -> Value:
        """The part of the symbol in the address, in bursts: 0 in a segment that none selects.

        With a clock a product has registers in front of it and behind it.
        """
        b, width, parts = self.b, self.address.width, list[Value]()
        for symbol, port in self.symbols.items():
            strides = [self.weights.stride(s) // self.burst_bytes if s.symbol == symbol else 0 for s in self.segments]
            for stride in dict.fromkeys(s for s in strides if s):
                here = b.table(self.segment, [*(int(s == stride) for s in strides), 0], 1)
                product = self._late(self._late(self.p[port], "symbol").zero_extend(width) * stride, "product")
                parts.append(here.replicate(width) & product)
        return self._late(b.any_of(*parts), "part") if parts else b.const(0, width)

    def _late(self, value: Value, name: str) -> Value:
        """A value, with a clock that of a cycle ago."""
        return self.b.register(value, name) if self.crossing else value

    def _bytes(self, address: Value) -> Value:
        """An address in bursts as one in bytes."""
        b, shift = self.b, (self.burst_bytes - 1).bit_length()
        whole = b.concat([address, b.const(0, shift)]) if shift else address
        return whole.zero_extend(ADDRESS) if whole.width < ADDRESS else whole[:ADDRESS]

    def _ends(self) -> Value:
        """i1: the beat that arrives is the last one of its burst, by the number of beats that arrived before it."""
        b, weights, go, arrives = self.b, self.weights, self.p["go"], self.arrives
        count = b.state(bits_for(max(self.beats)), "arrived")  # of the segment
        segment = b.state(self.segment.width, "arriving")
        # i1: it is the last one of its segment; it may be the only one.
        whole = b.state(1, "last_of_segment")
        nearly = count.eq(b.table(segment, [*(n - 2 for n in self.beats), 0], count.width))
        only = b.table(segment, [*(int(n == 1) for n in self.beats[1:]), 0, 0], 1)
        next_whole = b.mux(go, int(self.beats[0] == 1), b.mux(whole, only, nearly))
        whole.assign(next_whole, go | arrives)
        count.assign(b.mux(go | whole, 0, count + 1), go | arrives)
        segment.assign(b.mux(go, 0, segment + 1), go | (arrives & whole))
        bits = weights.burst.bit_length() - 1
        if bits >= count.width:
            return whole
        if not bits:
            return b.const(1, 1)
        ends = b.state(1, "last_of_burst")
        ends.assign(next_whole | (~(go | whole) & count[:bits].eq((1 << bits) - 2)), go | arrives)
        return ends

    def _error(self, ends: Value) -> Value:
        """i1, a register: something was wrong with a beat of this run; `ends` is i1: the beat is to end its burst."""
        b, p = self.b, self.p
        error = b.state(1, "failed", reset=0)
        wrong = b.any_of(p["rresp"].ne(OKAY), p["rid"].ne(IDENTIFIER), p["rlast"].ne(ends))
        error.assign(~p["go"] & (error | (self.arrives & wrong)))
        return error

    def _arrival(self) -> dict[str, Value]:
        """The outputs that depend on arriving beats: the ring's write port and `ready`."""
        b, p, weights = self.b, self.p, self.weights
        low, words = (weights.word_beats - 1).bit_length(), bits_for(weights.bank.words)
        place = b.state(low + words, "place")
        next_place = place.incremented(weights.bank.words * weights.word_beats)
        go, arrives = p["go"], self.arrives
        place.assign(b.mux(go, 0, next_place), go | arrives)
        inside, enables = (weights.memory_beats - 1).bit_length(), [arrives]
        if inside:
            enables = [arrives & place[:inside].eq(i) for i in range(weights.memory_beats)]
        complete = arrives
        if low:
            last = b.state(1, "last_of_word")
            last.assign(~go & place[:low].eq((1 << low) - 2), go | arrives)
            complete = arrives & last
        # The words that were not read when the cycle before began, without those of that cycle. With those there is
        # one, or more.
        unread = b.state(bits_for(weights.bank.words + 2), "unread", reset=0)
        taken, new = b.register(p["fresh"], "taken", reset=0), b.register(~go & complete, "new", reset=0)
        unread.assign(b.mux(go, 0, counted(unread, new, taken)))
        two, three = (unread.uge(n) | (unread.uge(n - 1) & new) for n in (2, 3))
        more = (two & ~taken) | three
        ready = b.state(1, "ready_q", reset=0)
        ready.assign(~go & b.any_of(complete, more, ready & ~p["fresh"]))
        return {
            "ready": ready,
            "wen": b.concat(enables[::-1]),
            "waddr": place[inside:],
            "wdata": b.concat(self._weights() * weights.memory_beats),
        }

    def _weights(self) -> list[Value]:
        """The weights of the beat that arrives, in descending order, without the bits that fill them up in the DRAM."""
        data, bits, used = self.p["rdata"], self.weights.element_bits, self.weights.bank.bits
        return [data[low : low + used] for low in range(data.width - bits, -1, -bits)] if used < bits else [data]


def counted(count: Value, up: Value, down: Value) -> Value:
    """`count` plus `up` minus `down`."""
    return count + up.zero_extend(count.width) - down.zero_extend(count.width)
