"""The driver of `gradcam_core`: it needs NumPy, msgspec and the program.json of the compile, neither PyTorch nor MLIR.

    core = Core(PynqTransport(address, overlay.axi_dma_0), "build/resnet")
    result = core.run("photograph.png")  # or an array: pixels, inputs of the model, or int8
    logits, heatmaps = core.dequantize(result)

The registers and packets are described in docs/guide.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.images import load_images
from gradcam.schema.program import WORD_BYTES, Field, Program, Register


class Transport(Protocol):
    """The connection to a core."""

    def read32(self, address: int) -> int:
        """The register at a byte address, relative to the first one."""
        ...

    def write32(self, address: int, word: int) -> None:
        """Writes a register."""
        ...

    def send(self, packet: bytes) -> None:
        """Sends an image packet, TLAST with its last beat; returns when the core has all of it."""
        ...

    def receive(self, count: int) -> bytes:
        """Takes a result packet of `count` bytes; returns when it is whole."""
        ...

    def place(self, data: bytes) -> int:
        """Keeps the weights where the core can read them; returns the address on its bus, a multiple of 4096.

        Only a design with weights in DRAM, or resident ones, asks for it.
        """
        ...


class CoreError(GradcamError):
    """The core has set bits of its register ERROR, which were cleared.

    Attributes:
        bits: their names.
    """

    def __init__(self, bits: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.bits = bits


@dataclass(frozen=True)
class Result:
    """The contents of a result packet.

    Attributes:
        packet: the number of image packets that ended before this image's, modulo 2**32.
        classes: int32 (K,), the explained classes, the requested or predicted one first; empty for a design without
            explanations.
        logits: int32, one per class.
        heatmaps: int32 (H, W) each, target layer by target layer, the classes of each in the order of `classes`.
    """

    packet: int
    classes: np.ndarray
    logits: np.ndarray
    heatmaps: list[np.ndarray]


class Core:
    """A core that runs."""

    def __init__(self, transport: Transport, design: str | Path | Program, timeout: float = 10.0) -> None:
        """Checks that the core is the one that was compiled; changes nothing in it.

        Args:
            transport: the connection to the core.
            design: the output folder of the compile, or the contents of its program.json.
            timeout: the longest time to wait for a result, in seconds.

        Raises:
            GradcamError: program.json cannot be read; no core answers, one of another version or another design, or
                one that is at work for somebody else.
        """
        self._transport, self._timeout = transport, timeout
        found = design if isinstance(design, Program) else Design.load(design)
        self._design = found if isinstance(found, Design) else None
        self._program = found.program if isinstance(found, Design) else found
        (self._image,) = self._program.inputs
        self._placed = False  # the core knows where its weights are
        self._sent = 0  # image packets
        self._waiting: deque[int] = deque()  # their numbers, of those whose results are still to come
        self._first: int | None = None  # the core's number of the first one; not known before there is a result
        self._check()

    # Registers.

    def read(self, register: str, field: str | None = None) -> int:
        """A register, or a field of it."""
        word = self._transport.read32(self._register(register).address)
        if field is None:
            return word
        place = self._field(register, field)
        return word >> place.low & (1 << place.bits) - 1

    def write(self, register: str, **fields: int) -> None:
        """Writes a register: the fields that are named, 0 to all others.

        Raises:
            GradcamError: a value has more bits than its field.
        """
        word = 0
        for name, value in fields.items():
            field = self._field(register, name)
            if not 0 <= value < 1 << field.bits:
                raise GradcamError(f"{register}.{name} has {field.bits} bits, {value} does not fit")
            word |= value << field.low
        self._transport.write32(self._register(register).address, word)

    @property
    def status(self) -> dict[str, int]:
        """The fields of STATUS."""
        return self._fields("STATUS", self.read("STATUS"))

    @property
    def errors(self) -> tuple[str, ...]:
        """The names of the bits of ERROR that are set."""
        return tuple(name for name, value in self._fields("ERROR", self.read("ERROR")).items() if value)

    def clear_errors(self) -> None:
        """Clears the bits of ERROR that are set."""
        self.write("ERROR", **dict.fromkeys(self.errors, 1))

    @property
    def counters(self) -> dict[str, int]:
        """Images since reset; cycles of inference, explanation and waiting of the last run, and of the last load."""
        return {
            "images": self.read("IMAGES", "count"),
            "inference": self.read("INFERENCE", "cycles"),
            "explanation": self.read("EXPLANATION", "cycles"),
            "stall": self.read("STALL", "cycles"),
            "load": self.read("LOAD", "cycles"),
        }

    @property
    def run_on_arrival(self) -> bool:
        """Whether an image runs as soon as it has arrived; otherwise it waits for a start, which `run` gives."""
        return bool(self.read("CONTROL", "run_on_arrival"))

    @run_on_arrival.setter
    def run_on_arrival(self, on: bool) -> None:
        self.write("CONTROL", run_on_arrival=int(on))

    def start(self) -> None:
        """Runs the image that waits, or the next one that arrives."""
        self.write("CONTROL", start=1, run_on_arrival=int(self.run_on_arrival))

    def select_class(self, cls: int | None) -> None:
        """Chooses the class that the first map explains from the next run on; None: the predicted one.

        Raises:
            GradcamError: there is no such class, or the design explains nothing.
        """
        if cls is None:
            self.write("CLASS_SELECT", argmax=1)
            return
        count = self._program.fields.get("logits", 0)
        if not self._program.ports:
            raise GradcamError("this design explains no class; it was compiled without explanation")
        if not 0 <= cls < count:
            raise GradcamError(f"class {cls} does not exist: there are {count}, from 0 on")
        self.write("CLASS_SELECT", index=cls)

    def enable_interrupt(self, done: bool = False, error: bool = False) -> None:
        """Enables the sources of `interrupt`: a result that is ready, a bit of ERROR."""
        self.write("IRQ_ENABLE", done=int(done), error=int(error))

    def acknowledge(self) -> dict[str, int]:
        """The fields of IRQ_STATUS; clears `done`. `error` lasts as long as the bits of ERROR."""
        fields = self._fields("IRQ_STATUS", self.read("IRQ_STATUS"))
        self.write("IRQ_STATUS", done=fields["done"])
        return fields

    # Weights in DRAM.

    @property
    def weights_in_dram(self) -> bool:
        """Whether the core reads its weights, in every run or once; otherwise they are part of the design."""
        return self._program.dram is not None

    @property
    def weights_address(self) -> int:
        """The byte address from which the core reads its weights."""
        return self.read("WEIGHTS_HIGH", "address") << 32 | self.read("WEIGHTS_LOW", "address") << 12

    @weights_address.setter
    def weights_address(self, address: int) -> None:
        if not self.weights_in_dram:
            raise GradcamError("the weights of this design are on chip")
        if address % 4096 or not 0 <= address < 1 << 64:
            raise GradcamError(f"weights must be at a multiple of 4096 below 2**64, got {address:#x}")
        self.write("WEIGHTS_LOW", address=address >> 12 & 0xFFFFF)
        self.write("WEIGHTS_HIGH", address=address >> 32)
        self._placed = True

    def load_weights(self) -> None:
        """Copies the weights of the output folder to the memory that the core reads them from.

        Where they are resident, the core loads them, once no run is under way, and keeps them until the next load.

        Raises:
            GradcamError: they are on chip, or the file is missing or is not the one of the compile, the load does not
                end in time, or it gave other weights.
            CoreError: the core could not read them, or an error was left from before.
        """
        dram = self._program.dram
        if dram is None or self._design is None:
            reason = "are on chip" if dram is None else "are in the output folder; name it instead of its program"
            raise GradcamError(f"the weights of this design {reason}")
        self.weights_address = self._transport.place(self._design.verified(dram.file).read_bytes())
        if self._program.load is not None:
            self._load()

    def _load(self) -> None:
        """Lets the core load resident weights, and waits for it."""
        self._raise_errors("left from before this load")
        self.write("CONTROL", load=1, run_on_arrival=int(self.run_on_arrival))
        end = time.monotonic() + self._timeout
        while self.read("STATUS", "loading"):
            if time.monotonic() > end:
                raise GradcamError(f"the weights are not loaded within {self._timeout:g} s, STATUS is {self.status}")
        self._raise_errors("while weights were loaded")
        self._check_weights()

    def _check_weights(self) -> None:
        """Refuses a run without weights, or with resident weights of another compile."""
        load = self._program.load
        if self.weights_in_dram and load is None and not self._placed:
            raise GradcamError(
                "the core does not know where its weights are; call load_weights, or set weights_address"
            )
        if load is None:
            return
        if not self.read("STATUS", "loaded"):
            raise GradcamError("no weights are loaded; call load_weights")
        if (found := self.read("WEIGHTS", "checksum")) != load.checksum:
            here = f"the core has loaded weights {found:#010x}, program.json describes {load.checksum:#010x}"
            raise GradcamError(f"{here}; call load_weights")

    # Images.

    def run(self, image: np.ndarray | str | Path, cls: int | None = None) -> Result:
        """Runs one image.

        Args:
            image: a file, or an array, as `gradcam.images.load_images` takes it: pixels, inputs of the model, or int8
                images as the core takes them. A file needs Pillow.
            cls: the class that the first map explains; None: the predicted one.

        Raises:
            GradcamError: the image is not like that, the class does not exist, the weights were not loaded, or there
                is no result in time.
            CoreError: the core reports an error of this run, or one that was left from before it. Nothing is left of
                it: the next image can be run.
        """
        return self.run_many([image], cls)[0]

    def run_many(self, images: Iterable[np.ndarray | str | Path], cls: int | None = None) -> list[Result]:
        """Runs images, each of which goes in while the one before it runs; otherwise like `run`."""
        packets = [self.packet(image) for image in images]
        self._check_weights()
        if self._waiting:
            raise GradcamError("a run before this one did not end; reset the core and make a new Core")
        self._raise_errors("left from before this run")
        self.select_class(cls)
        ahead = 1 if self.run_on_arrival else 0
        results = []
        for packet in packets:
            self._send(packet, start=not ahead)
            if len(self._waiting) > ahead:
                results.append(self._receive())
        while self._waiting:
            results.append(self._receive())
        return results

    def packet(self, image: np.ndarray | str | Path) -> bytes:
        """The packet of an image: pixel by pixel, row by row, the channels of each in a power of two of bytes.

        Raises:
            GradcamError: the image cannot be read, has another size or type than `run` takes, or a value that is not
                finite, or there are several.
        """
        height, width, channels = self._image.shape
        scale, how = self._program.scale(self._image.name), self._program.preprocessing
        first, *others = load_images(image, (1, channels, height, width), how, scale)
        if others:
            raise GradcamError(f"{1 + len(others)} images where one is run; run_many takes several")
        integers = self._program.integers(first.input)
        return image_beats(integers, self._image.lanes, self._program.core.image_bytes).tobytes()

    def decode(self, data: bytes) -> Result:
        """Decodes a result packet.

        Raises:
            GradcamError: it has another size.
        """
        words, place, found = np.frombuffer(data, "<i4"), 0, {}
        if len(words) != self._program.packet_words:
            raise GradcamError(f"a result has {self._program.packet_words} words, got {len(words)}")
        for name, count in self._program.fields.items():
            found[name] = words[place : place + count]
            place += count
        number = int(found.pop("packet")[0]) & 0xFFFFFFFF
        classes = found.pop("classes", np.zeros(0, np.int32))
        values = {s.name: found[s.name].reshape(s.shape) for s in self._program.outputs}
        return Result(number, classes, values.pop("logits"), list(values.values()))

    def dequantize(self, result: Result) -> tuple[np.ndarray, list[np.ndarray]]:
        """The real values of a result: logits and maps, float32."""
        scale = self._program.scale
        names = [stream.name for stream in self._program.outputs if stream.name != "logits"]
        maps = [(m * scale(n)).astype(np.float32) for n, m in zip(names, result.heatmaps, strict=True)]
        return (result.logits * scale("logits")).astype(np.float32), maps

    def _fields(self, register: str, word: int) -> dict[str, int]:
        return {name: word >> f.low & (1 << f.bits) - 1 for name, f in self._register(register).fields.items()}

    def _register(self, name: str) -> Register:
        if name not in self._program.core.registers:
            raise GradcamError(f"program.json has no register {name}; compile again")
        return self._program.core.registers[name]

    def _field(self, register: str, name: str) -> Field:
        fields = self._register(register).fields
        if name not in fields:
            raise GradcamError(f"program.json has no field {register}.{name}; compile again")
        return fields[name]

    def _check(self) -> None:
        magic, known = self.read("ID", "magic"), self._field("ID", "magic").reset
        if magic != known:
            raise GradcamError(f"there is no gradcam_core at this address: ID is {magic:#010x}, not {known:#010x}")
        major, known = self.read("VERSION", "major"), self._field("VERSION", "major").reset
        if major != known:
            raise GradcamError(f"the core has version {major} of registers and packets, program.json version {known}")
        design, known = self.read("DESIGN", "fingerprint"), self._program.core.fingerprint
        if design != known:
            here = f"the core is design {design:#010x}, program.json describes {known:#010x}"
            raise GradcamError(f"{here}; name the folder that the bitstream was made from")
        status = self.status
        if any(status[name] for name in ("busy", "image", "result", "loading")):
            raise GradcamError(f"the core is not idle, STATUS is {status}; reset it, or wait for who uses it")

    def _send(self, packet: bytes, start: bool) -> None:
        if start and not self.read("STATUS", "started"):
            self.start()
        self._waiting.append(self._sent)
        self._sent += 1
        self._transport.send(packet)

    def _receive(self) -> Result:
        """The next result, which must be that of the image that waits longest."""
        end = time.monotonic() + self._timeout
        while not self.read("STATUS", "result"):
            self._raise_errors("while a result was waited for")
            if time.monotonic() > end:
                raise GradcamError(f"there is no result within {self._timeout:g} s, STATUS is {self.status}")
        self._raise_errors("before a result")
        result = self._take()
        number = self._waiting.popleft()
        if self._first is None:
            self._first = (result.packet - number) % 2**32
        expected = (self._first + number) % 2**32
        if result.packet != expected:
            raise GradcamError(
                f"the result of packet {result.packet} came, that of {expected} was to come; reset the core"
            )
        return result

    def _take(self) -> Result:
        return self.decode(self._transport.receive(WORD_BYTES * self._program.packet_words))

    def _raise_errors(self, when: str) -> None:
        if errors := self.errors:
            self._give_up(errors, when)

    def _give_up(self, errors: tuple[str, ...], when: str) -> NoReturn:
        """Waits until the core is idle, drops its results, and raises the errors."""
        end = time.monotonic() + self._timeout
        while any((status := self.status)[n] for n in ("busy", "image", "result")):
            if status["result"]:
                self._take()
            if time.monotonic() > end:
                raise CoreError(errors, f"the core reports {', '.join(errors)} and stays at work; reset it")
        errors = tuple(dict.fromkeys((*errors, *self.errors)))
        self.clear_errors()
        self._waiting.clear()
        self._first = None  # others may have sent packets
        texts = [f"{name} ({self._field('ERROR', name).text})" for name in errors]
        raise CoreError(errors, f"the core reports, {when}: {', '.join(texts)}")


def image_beats(images: np.ndarray, lanes: int, size: int) -> np.ndarray:
    """The beats of image packets.

    Args:
        images: int8 (n, C, H, W).
        lanes: elements of a beat.
        size: bytes of a beat; those behind the elements are 0.

    Returns:
        uint8 (n, beats, size).
    """
    elements = np.ascontiguousarray(images).view(np.uint8).transpose(0, 2, 3, 1).reshape(len(images), -1, lanes)
    return np.pad(elements, ((0, 0), (0, 0), (0, size - lanes)))
