"""A cocotb bench that plays a script on `gradcam_core` through its interfaces alone, and writes down what came back.

The models of AXI are cocotbext-axi's. The script is the JSON file that the environment variable GRADCAM_SCRIPT names,
made by `core_simulation.py`; what is expected of it is decided there, not here.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiReadBus,
    AxiResp,
    AxiSlaveRead,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
    MemoryRegion,
)

from gradcam.core.register_map import Register, register_map

PERIOD_NS = 10

#: Where the bench puts the weights.
WEIGHTS_BASE = 0x1_2345_6000

#: CONTROL with load and run_on_arrival.
CONTROL_LOAD = 0b110

REGISTERS = {register.name: register for register in register_map()}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a beat of a read.

    Attributes:
        signal: whose `bits` are inverted; or "short", the burst lacks its last beat; or "long", it has a beat more.
        bits: see `signal`.
        left: how many beats of the burst follow; None for whichever beat comes next.
    """

    signal: str
    bits: int = 0
    left: int | None = None


class Dram(AxiSlaveRead):
    """A memory with faults.

    Attributes:
        faults: the next ones, one after the other, each in the first beat that it fits.
        planned: those of the bursts to come, each in every `every`-th burst; their `left` is at most the last one.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.left, self.skips = 0, False
        self._take, self.ar_channel.recv = self.ar_channel.recv, self._begin
        self._pass, self.r_channel.send = self.r_channel.send, self._answer
        self.behave()

    def behave(self) -> None:
        """No fault from here on."""
        self.faults: list[Fault] = []
        self.planned: list[Fault] = []
        self.every, self.bursts = 1, 0

    async def _begin(self) -> Any:
        """Takes a request."""
        request = await self._take()
        self.left = int(request.arlen) + 1
        if self.planned and self.bursts % self.every == 0:
            fault = self.planned.pop(0)
            self.faults.append(replace(fault, left=min(fault.left or 0, self.left - 1)))
        self.bursts += 1
        return request

    async def _answer(self, beat: Any) -> None:
        """Sends a beat."""
        self.left -= 1
        if self.skips:
            self.skips = False
            return
        fits = bool(self.faults) and self.faults[0].left in (None, self.left)
        fault = self.faults.pop(0) if fits else None
        if fault and fault.signal == "short":
            beat.rlast, self.skips = 1, True
        elif fault and fault.signal == "long":
            beat.rlast = 0
            await self._pass(copy(beat))
            beat.rlast = 1
        elif fault:
            setattr(beat, fault.signal, int(getattr(beat, fault.signal)) ^ fault.bits)
        await self._pass(beat)


class Bench:
    """The core and the models around it."""

    def __init__(self, dut: Any, script: dict[str, Any]) -> None:
        self.dut, self.script = dut, script
        self.random = random.Random(script["seed"])
        self.images = np.load(script["images"])
        self.log: list[dict[str, Any]] = []
        clock, reset = dut.aclk, {"reset": dut.aresetn, "reset_active_level": False}
        self.control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_control"), clock, **reset)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis_image"), clock, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis_result"), clock, **reset)
        self.weights: MemoryRegion | None = None
        write, read = self.control.write_if, self.control.read_if
        channels = {"s_axis_image_t": self.source, "m_axis_result_t": self.sink}
        channels |= {f"s_axi_control_{n}": getattr(write, f"{n}_channel") for n in ("aw", "w", "b")}
        channels |= {f"s_axi_control_{n}": getattr(read, f"{n}_channel") for n in ("ar", "r")}
        if script["weights"]:
            contents = Path(script["weights"]).read_bytes()
            self.weights = MemoryRegion(size=len(contents), mem=bytearray(contents))
            bus = AxiReadBus.from_prefix(dut, "m_axi_weights")
            self.dram = Dram(bus, clock, **reset, target=_Offset(self.weights, WEIGHTS_BASE))
            channels |= {f"m_axi_weights_{n}": getattr(self.dram, f"{n}_channel") for n in ("ar", "r")}
        if script["pause"]:
            for name, channel in channels.items():
                cocotb.start_soon(self._pauses(channel, getattr(dut, f"{name}valid")))

    async def _pauses(self, channel: Any, valid: Any) -> None:
        """Lets a channel wait about half of the cycles in which it has something to do, in random pieces.

        A receiver waits before something comes, too, so that a request of a single cycle meets it.
        """
        draw, receives = random.Random(self.random.random()), hasattr(channel, "recv")
        while True:
            channel.pause = receives
            if str(valid.value) != "1":  # nothing to do: a bench that sleeps is fast
                await RisingEdge(valid)
            await ClockCycles(self.dut.aclk, draw.randint(1, 8))
            channel.pause = not receives
            await ClockCycles(self.dut.aclk, draw.randint(1, 8))
            if not receives:
                channel.pause = False
                await ClockCycles(self.dut.aclk, 2)  # a sender that waited shows what it has

    async def reset(self, cycles: int = 4, load: bool = True) -> None:
        """Resets the core and the models, says where the weights are, and loads them where they are resident."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, cycles)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)
        if self.weights is not None:
            self.dram.behave()
            await self.locate(WEIGHTS_BASE)
        if self.script["resident"] and load:
            await self.write("CONTROL", CONTROL_LOAD)
            await self.until("STATUS", "loaded", 1)

    async def read(self, name: str, field: str | None = None) -> int:
        """A register, or a field of it."""
        word = await self.control.read_dword(REGISTERS[name].address)
        if field is None:
            return word
        (found,) = (f for f in REGISTERS[name].fields if f.name == field)
        return word >> found.low & (1 << found.bits) - 1

    async def write(self, name: str, word: int) -> None:
        """Writes a register."""
        await self.control.write_dword(REGISTERS[name].address, word)

    async def locate(self, address: int) -> None:
        """Says where the weights are."""
        await self.write("WEIGHTS_LOW", address & 0xFFFFFFFF)
        await self.write("WEIGHTS_HIGH", address >> 32)

    def send(self, image: int, beats: int | None = None) -> None:
        """Queues the packet of an image, cut or stretched to a number of beats."""
        pixels = self.images[image]
        if beats is not None:
            pixels = np.resize(pixels, (beats, pixels.shape[1]))
        self.source.send_nowait(AxiStreamFrame(pixels.tobytes()))

    async def receive(self) -> None:
        """Waits for a result and writes it down."""
        frame = await self.sink.recv()
        data = bytes(frame.tdata)
        words = np.frombuffer(data, "<i4").tolist()
        self.log.append({"step": "result", "words": words, "cycle": _cycle(frame.sim_time_end)})

    async def until(self, name: str, field: str, value: int, polls: int = 20_000) -> None:
        """Polls a field; a core that hangs ends the bench."""
        for _ in range(polls):
            if await self.read(name, field) == value:
                return
            await ClockCycles(self.dut.aclk, self.script["poll"])
        raise AssertionError(f"{name}.{field} does not become {value}")

    async def errors(self, step: str) -> None:
        """Writes down ERROR and clears it."""
        word = await self.read("ERROR")
        pending = await self.read("IRQ_STATUS", "error")
        await self.write("ERROR", word)
        self.log.append({"step": step, "errors": word, "pending": pending, "left": await self.read("ERROR")})

    async def counters(self) -> dict[str, int]:
        """All counters."""
        names = ("INFERENCE", "EXPLANATION", "STALL")
        return {"images": await self.read("IMAGES")} | {name.lower(): await self.read(name) for name in names}


class _Offset:
    """A memory as a bus sees it, from an address on."""

    def __init__(self, memory: MemoryRegion, base: int) -> None:
        self.memory, self.base = memory, base

    async def read(self, address: int, length: int, **options: Any) -> bytes:
        assert self.base <= address and address + length <= self.base + self.memory.size, hex(address)
        assert address // 4096 == (address + length - 1) // 4096, "a burst crosses a block of 4 KB"
        return await self.memory.read(address - self.base, length, **options)


class SimulatedTransport:
    """A `gradcam.core.driver.Transport` into the simulation, for a function that `bridge` runs in a thread."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def read32(self, address: int) -> int:
        """A register."""
        return resume(self.bench.control.read_dword)(address)

    def write32(self, address: int, word: int) -> None:
        """Writes a register."""
        resume(self.bench.control.write_dword)(address, word)

    def send(self, packet: bytes) -> None:
        """Sends an image packet."""

        async def send() -> None:
            await self.bench.source.send(AxiStreamFrame(packet))
            await self.bench.source.wait()

        resume(send)()

    def receive(self, count: int) -> bytes:
        """Takes a result packet."""
        data = bytes(resume(self.bench.sink.recv)().tdata)
        assert len(data) == count, f"a result of {len(data)} bytes, not of {count}"
        return data

    def place(self, data: bytes) -> int:
        """Puts weights into the DRAM."""
        assert self.bench.weights is not None
        self.bench.weights.mem[:] = data
        return WEIGHTS_BASE

    def wait(self, cycles: int) -> None:
        """Lets so many cycles pass."""
        resume(ClockCycles)(self.bench.dut.aclk, cycles)

    def hold(self, results: bool) -> None:
        """Takes no result, or takes them again."""
        self.bench.sink.pause = results

    def fail(self) -> None:
        """Gives the next read of weights an error response."""
        self.bench.dram.faults.append(Fault("rresp", AxiResp.SLVERR))


def _cycle(time: int) -> int:
    return round(time / (1000 * PERIOD_NS))


def _bits(register: Register, kinds: tuple[str, ...]) -> int:
    return sum(((1 << f.bits) - 1) << f.low for f in register.fields if f.kind in kinds)


async def play(bench: Bench, step: dict[str, Any]) -> None:
    """One step of a script, named by its key `do`."""
    await globals()[f"do_{step['do']}"](bench, **{name: value for name, value in step.items() if name != "do"})


async def do_images(bench: Bench, images: list[int], eager: bool) -> None:
    """Back to back; a bench that is not eager sleeps while the core takes no beat."""

    async def send() -> None:
        for image in images:
            if not eager and str(bench.dut.s_axis_image_tready.value) != "1":
                await RisingEdge(bench.dut.s_axis_image_tready)
            bench.send(image)
            if not eager:
                await bench.source.wait()
                await ClockCycles(bench.dut.aclk, 2)

    sender = cocotb.start_soon(send())
    for _ in images:
        await bench.receive()
    await sender
    bench.log[-1]["counters"] = await bench.counters()


async def do_blocked(bench: Bench, images: list[int], cycles: int) -> None:
    """Back to back; no result is taken for so many cycles."""
    bench.sink.pause = True
    for image in images:
        bench.send(image)
    await ClockCycles(bench.dut.aclk, cycles)
    bench.sink.pause = False
    for i, _ in enumerate(images):
        await bench.receive()
        if i == 1:  # of the run that could not write its result
            bench.log[-1]["counters"] = await bench.counters()


async def do_explain(bench: Bench, image: int, cls: int) -> None:
    """One image with a class of its own."""
    await bench.write("CLASS_SELECT", 1 << 31 if cls < 0 else cls)
    bench.send(image)
    await bench.receive()
    await bench.write("CLASS_SELECT", 1 << 31)


async def do_start(bench: Bench, image: int, early: bool) -> None:
    """One image that waits for a start, or a start that waits for an image; and both only once."""
    await bench.write("CONTROL", 0)
    if early:
        await bench.write("CONTROL", 1)
        await bench.until("STATUS", "started", 1)
        bench.send(image)
    else:
        bench.send(image)
        await bench.until("STATUS", "image", 1)
        await ClockCycles(bench.dut.aclk, 50)
        assert await bench.read("STATUS", "busy") == 0
        await bench.write("CONTROL", 1)
    await bench.receive()
    assert await bench.read("STATUS", "started") == 0
    await bench.write("CONTROL", 2)


async def do_short(bench: Bench, image: int, beats: int) -> None:
    """A packet that ends too early."""
    bench.send(image, beats)
    await bench.until("ERROR", "short_packet", 1)
    await bench.errors("short")


async def do_long(bench: Bench, image: int, beats: int) -> None:
    """A packet that goes on behind the last pixel."""
    bench.send(image, beats)
    await bench.source.wait()
    await bench.until("ERROR", "long_packet", 1)
    await bench.errors("long")


async def do_class_range(bench: Bench, image: int, cls: int) -> None:
    """An image with a class that does not exist."""
    await bench.write("CLASS_SELECT", cls)
    bench.send(image)
    await bench.until("ERROR", "class_range", 1)
    await bench.write("CLASS_SELECT", 1 << 31)
    await bench.errors("class_range")


async def do_start_busy(bench: Bench, image: int) -> None:
    """A start while the image of the step runs: it has its result, and no other image runs for the start."""
    bench.send(image)
    await bench.until("STATUS", "busy", 1)
    await bench.write("CONTROL", 3)
    await bench.errors("start_busy")
    await bench.receive()


async def do_dram(bench: Bench, image: int, after: int, **fault: Any) -> None:
    """A fault in a read, so many cycles after the run began."""
    bench.send(image)
    await bench.until("STATUS", "busy", 1)
    await ClockCycles(bench.dut.aclk, max(after, 1))
    bench.dram.faults.append(Fault(**fault))
    await bench.until("ERROR", "dram", 1)
    await bench.until("STATUS", "busy", 0)
    await bench.errors("dram")


async def do_unreliable(bench: Bench, image: int, every: int, faults: list[dict[str, Any]]) -> None:
    """An image during whose run the first of every so many reads has a fault."""
    bench.dram.every, bench.dram.planned = every, [Fault(**fault) for fault in faults]
    bench.send(image)
    await bench.until("ERROR", "dram", 1)
    await bench.until("STATUS", "busy", 0)
    await bench.errors("unreliable")
    bench.dram.behave()


async def do_lost(bench: Bench, image: int) -> None:
    """A read that lacks a beat: the run waits for it, which software sees, and resets the core."""
    bench.dram.faults.append(Fault("short", left=1))
    bench.send(image)
    await bench.until("ERROR", "dram", 1)
    await bench.errors("lost")
    assert await bench.read("STATUS", "busy") == 1
    await bench.reset()


async def do_move(bench: Bench, image: int, address: int) -> None:
    """An image; when its first read of weights waits, software says that they are elsewhere, until its result comes."""
    bench.dram.ar_channel.pause = True
    bench.send(image)
    await RisingEdge(bench.dut.m_axi_weights_arvalid)
    await bench.locate(address)
    await ClockCycles(bench.dut.aclk, 4)
    bench.dram.ar_channel.pause = False
    await bench.receive()
    await bench.locate(WEIGHTS_BASE)


async def do_reset(bench: Bench, image: int, after: int) -> None:
    """A reset so many cycles after an image began to arrive; what has not left by then is lost."""
    bench.send(image)
    await ClockCycles(bench.dut.aclk, after)
    await bench.reset()
    left = bench.sink.count()
    for _ in range(left):
        await bench.receive()
    await bench.errors("reset")
    bench.log[-1]["status"] = await bench.read("STATUS")
    bench.log[-1]["images"] = await bench.read("IMAGES")


async def do_registers(bench: Bench) -> None:
    """Every field as software may read and write it, whole and byte by byte, and addresses without a register."""
    seen: dict[str, Any] = {"reset": {name: await bench.read(name) for name in REGISTERS}}
    for pattern in (0xFFFFFFFF, 0xA5A5A5A5, 0x5A5A5A5A, 0):
        for name, register in REGISTERS.items():
            if _bits(register, ("storage",)):
                await bench.write(name, pattern & _bits(register, ("storage",)))
        seen[f"{pattern:08x}"] = {name: await bench.read(name) for name in REGISTERS}
    for name, register in REGISTERS.items():
        if _bits(register, ("storage",)):
            for byte in range(4):
                await bench.control.write(
                    register.address + byte, bytes([_bits(register, ("storage",)) >> 8 * byte & 255])
                )
                seen.setdefault("bytes", {}).setdefault(name, []).append(await bench.read(name))
            await bench.write(name, sum(f.reset << f.low for f in register.fields if f.kind == "storage"))
    for register in REGISTERS.values():
        if not _bits(register, ("storage", "pulse", "sticky")):
            await bench.write(register.name, 0xFFFFFFFF)
    seen["restored"] = {name: await bench.read(name) for name in REGISTERS}
    hole = max(register.address for register in REGISTERS.values()) + 4
    seen["hole"] = [(await bench.control.read(hole, 4)).resp, (await bench.control.write(hole, bytes(4))).resp]
    if bench.weights is not None:
        await bench.locate(WEIGHTS_BASE)
    bench.log.append({"step": "registers", **seen})


async def do_interrupt(bench: Bench, image: int) -> None:
    """The interrupt of a result and of an error: raised where it is enabled, until the event is cleared."""
    seen = []

    async def look(event: str) -> None:
        await ClockCycles(bench.dut.aclk, 4)
        seen.append((int(bench.dut.interrupt.value), await bench.read("IRQ_STATUS", event)))

    await bench.write("IRQ_STATUS", 1)
    for enable in (0, 1):
        await bench.write("IRQ_ENABLE", enable)
        bench.send(image)
        await bench.receive()
        await look("done")
        await bench.write("IRQ_STATUS", 1)
        await look("done")
    await bench.write("IRQ_ENABLE", 2)
    bench.send(image, 1)
    await bench.until("ERROR", "short_packet", 1)
    await look("error")
    await bench.write("ERROR", 0xFFFFFFFF)
    await look("error")
    await bench.write("IRQ_ENABLE", 0)
    bench.log.append({"step": "interrupt", "seen": seen})


async def do_recorded(bench: Bench, step: dict[str, Any], signals: list[str]) -> None:
    """Another step, with the values that its signals have at every rising edge of the clock."""
    seen: dict[str, list[int]] = {name: [] for name in signals}

    async def watch() -> None:
        while True:
            await RisingEdge(bench.dut.aclk)
            for name, values in seen.items():
                values.append(int(getattr(bench.dut, name).value))

    watcher = cocotb.start_soon(watch())
    await play(bench, step)
    await ClockCycles(bench.dut.aclk, 2)
    watcher.cancel()
    bench.log.append({"step": "recorded", "signals": seen})


async def do_access(bench: Bench, register: str, word: int) -> None:
    """A write of a register, and a read."""
    await bench.write(register, word)
    bench.log.append({"step": "access", "word": await bench.read(register)})


async def do_session(bench: Bench, function: str, **arguments: Any) -> None:
    """Software that drives the core, module:function; the core has no weights yet, and does not know where they are."""
    if bench.script["resident"]:
        await bench.reset(load=False)
    if bench.weights is not None:
        bench.weights.mem[:] = bytes(bench.weights.size)
        await bench.locate(0)
    module, _, name = function.partition(":")
    session = getattr(importlib.import_module(module), name)
    gave = await bridge(session)(SimulatedTransport(bench), **arguments)
    bench.log.append({"step": "session", "gave": gave})


@cocotb.test()
async def script(dut: Any) -> None:
    """Plays the script."""
    for name in (f"cocotb.{dut._name}", "cocotb"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The models look at the core when they are made: it must have been reset, or what they see is unknown.
    cocotb.start_soon(Clock(dut.aclk, PERIOD_NS, unit="ns", impl="gpi").start())
    dut.aresetn.value = 0
    await ClockCycles(dut.aclk, 4)
    text = json.loads(Path(os.environ["GRADCAM_SCRIPT"]).read_text(encoding="utf-8"))
    bench = Bench(dut, text)
    await bench.reset()
    for step in text["steps"]:
        try:
            await with_timeout(play(bench, step), text["limit"] * PERIOD_NS, "ns")
        except SimTimeoutError:
            words = {name: hex(await bench.read(name)) for name in ("STATUS", "ERROR", "IMAGES")}
            raise AssertionError(f"{step} does not end within {text['limit']} cycles: {words}") from None
    await RisingEdge(dut.aclk)
    assert bench.sink.count() == 0 and bench.sink.empty(), "there are more results than images"
    end = _cycle(get_sim_time("step"))
    Path(text["log"]).write_text(json.dumps({"log": bench.log, "cycle": end}), encoding="utf-8")
