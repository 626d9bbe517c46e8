"""The driver: on a simulated core, through PYNQ's classes, and what it refuses."""

import shutil
import subprocess
import sys
import types

import msgspec
import numpy as np
import pytest
from folders import ROOT
from simulated_core import SimulatedCore

from gradcam.classes import explained_classes
from gradcam.core.driver import Core, CoreError
from gradcam.core.pynq import PynqTransport
from gradcam.core.register_map import register_map
from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.reference.integer import run_integer
from gradcam.sim.trace import load_quantized


@pytest.fixture
def session(monkeypatch, tmp_path):
    """Runs a function of driver_sessions.py on a simulated core."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "test" / "python" / "support"))

    def run(core: SimulatedCore, function: str, images: np.ndarray):
        np.save(tmp_path / "images.npy", images)
        folder = str(core.design.folder)
        arguments = {"function": f"driver_sessions:{function}", "folder": folder, "file": str(tmp_path / "images.npy")}
        played = SimulatedCore.play(core, types.SimpleNamespace(steps=[{"do": "session", **arguments}]))
        return played.log[0]["gave"]

    return run


def expected(core, image, cls=-1):
    """The integer reference's outputs, and the classes that are explained."""
    outputs = run_integer(load_quantized(core.design), image[None], cls)
    classes = [int(c) for c in explained_classes(outputs[0][0], cls, core.program.core.classes)]
    return {"classes": classes, "outputs": [part[0].tolist() for part in outputs]}


def without_packet(result):
    return {name: value for name, value in result.items() if name != "packet"}


@pytest.mark.parametrize("name", ("onchip", "dram", "resident"))
def test_the_driver_gives_what_the_reference_gives(name, request, session):
    core = request.getfixturevalue(name)
    gave = session(core, "images", core.images)
    order = [0, 0, 1, 2, 3, 4, 1, 0, 1]
    classes = [-1] * 6 + [1, -1, -1]
    want = [expected(core, core.images[i], c) for i, c in zip(order, classes, strict=True)]
    assert [without_packet(r) for r in gave["results"]] == want
    assert [r["packet"] for r in gave["results"]] == list(range(9))
    counters = gave["counters"]
    assert counters["images"] == 9
    assert counters["inference"] + counters["explanation"] - counters["stall"] <= core.program.cycles.total
    resident = {"loaded"} if core.program.load else set()
    assert {n for n, value in gave["status"].items() if value} == resident and gave["pending"] == [1, 0]
    names = [stream.name for stream in core.program.outputs]
    for output, real, part in zip(names, gave["real"], gave["results"][0]["outputs"], strict=True):
        want = np.array(part) * core.program.scale(output)
        np.testing.assert_array_equal(np.array(real, np.float32), want.astype(np.float32))


def test_float_images_are_quantized_as_the_calibration_says(onchip, session):
    scale = onchip.program.scale("image")
    real = (onchip.images.astype(np.float64) * scale).astype(np.float32)
    gave = session(onchip, "images", real)
    assert without_packet(gave["results"][2]) == expected(onchip, onchip.images[1])


def test_three_images_go_in_while_no_result_leaves(onchip, session):
    gave = session(onchip, "full", onchip.images)
    assert gave["status"] == {"busy": 1, "image": 1, "result": 1, "started": 0, "loading": 0, "loaded": 0}
    assert [without_packet(r) for r in gave["results"]] == [expected(onchip, image) for image in onchip.images[:3]]


def test_refusals(onchip, session):
    gave = session(onchip, "refusals", onchip.images)
    expected_image = "the model takes 1 channel, 9x7 (height x width), in an array NCHW, NHWC, CHW, HWC, NHW or HW"
    kinds = "pixels are uint8, uint16 or bool, and inputs of the network are floats"
    assert gave["messages"] == [
        f"the array has shape 1x8x7 (int8); {expected_image}",
        f"the array holds int32; {kinds}",
        "the array has values that are not finite",
        "class 2 does not exist: there are 2, from 0 on",
        "class -1 does not exist: there are 2, from 0 on",
        "the weights of this design are on chip",
        "the weights of this design are on chip",
    ]
    assert gave["after"] == {"packet": 0, **expected(onchip, onchip.images[0])}


def test_errors_of_the_core_are_raised_and_leave_nothing_behind(onchip, session):
    gave = session(onchip, "errors", onchip.images)
    texts = {f.name: f.text for r in register_map() if r.name == "ERROR" for f in r.fields}
    order = ["short_packet", "long_packet", "class_range", "start_busy"]
    assert [bits[:-2] for bits in gave["seen"]] == [[name] for name in order]
    for name, (*_, message) in zip(order, gave["seen"], strict=True):
        assert message == f"the core reports, left from before this run: {name} ({texts[name]})"
    want = expected(onchip, onchip.images[1])
    assert [without_packet(result) for result in gave["good"]] == [want] * 4 and not gave["left"]


def test_weights_in_dram(dram, session):
    gave = session(dram, "dram_errors", dram.images)
    assert gave["missing"].startswith("the core does not know where its weights are; call load_weights")
    assert gave["address"] == 0x1_2345_6000
    assert gave["odd"] == "weights must be at a multiple of 4096 below 2**64, got 0x1040"
    assert gave["bits"] == ["dram"] and "while a result was waited for: dram (A read of weights" in gave["message"]
    assert [without_packet(r) for r in gave["good"]] == [expected(dram, image) for image in dram.images[:3]]


# Without a simulation: a core in Python, behind PYNQ's classes.


class Device:
    """Registers and packets of a core that gives logits and maps of constants; PYNQ's MMIO and DMA at once."""

    def __init__(self, program):
        self.program, self.core, self.packets, self.results = program, program.core, 0, []
        self.words = {register.address: 0 for register in register_map()}
        for register in register_map():
            for field in register.fields:
                self.words[register.address] |= field.reset << field.low
        self.addresses = {register.name: register.address for register in register_map()}
        self.words[self.addresses["DESIGN"]] = self.core.fingerprint
        self.answers = True
        self.sendchannel = types.SimpleNamespace(transfer=self.take, wait=lambda: None)
        self.recvchannel = types.SimpleNamespace(transfer=self.give, wait=lambda: None)

    def read(self, address):
        if address == self.addresses["STATUS"]:
            return 4 if self.results else 0
        return self.words[address]

    def write(self, address, word):
        self.words[address] = self.words[address] & ~word if address == self.addresses["ERROR"] else word

    def take(self, buffer):
        assert buffer.nbytes == self.program.inputs[0].beats * self.core.image_bytes
        words = np.arange(self.program.packet_words, dtype="<i4") - 7
        words[0] = self.packets
        self.packets += 1
        if self.answers:
            self.results.append(words)

    def give(self, buffer):
        buffer[:] = np.frombuffer(self.results.pop(0).tobytes(), np.uint8)


class Buffer(np.ndarray):
    """What pynq.allocate gives."""

    device_address = 0x1000_0000
    flushed = 0

    def flush(self):
        self.flushed += 1


@pytest.fixture
def device(dram, monkeypatch):
    """A core in Python, and the PYNQ that leads to it."""
    device, buffers = Device(dram.program), []
    pynq = types.ModuleType("pynq")

    def allocate(shape, dtype):
        buffers.append(np.zeros(shape, dtype).view(Buffer))
        return buffers[-1]

    pynq.MMIO = lambda address, size: device if (address, size) == (0xA000_0000, 4096) else None
    pynq.allocate = allocate
    monkeypatch.setitem(sys.modules, "pynq", pynq)
    device.buffers, device.folder = buffers, dram.design.folder
    device.transport = lambda: PynqTransport(0xA000_0000, device)
    return device


def test_pynq(device, dram):
    core = Core(device.transport(), device.folder)
    core.load_weights()
    (weights,) = device.buffers
    assert bytes(weights) == (device.folder / "mem/weights.bin").read_bytes() and weights.flushed == 1
    assert core.weights_address == 0x1000_0000
    results = core.run_many(dram.images)
    assert [result.packet for result in results] == [0, 1, 2, 3, 4]
    assert results[0].classes.tolist() == [-6, -5] and results[0].logits.tolist() == [-4, -3, -2]
    assert [m.shape for m in results[0].heatmaps] == [(6, 5), (6, 5)]
    assert results[0].heatmaps[1].ravel().tolist() == list(range(29, 59))
    assert len(device.buffers) == 3  # weights, and one for the packets of either direction
    sent = bytes(device.buffers[1])
    assert sent == dram.images[4].transpose(1, 2, 0).tobytes()


def test_without_pynq(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(GradcamError, match="PYNQ is not installed"):
        PynqTransport(0, None)


@pytest.mark.parametrize(
    ("register", "word", "message"),
    [
        ("ID", 0, "there is no gradcam_core at this address: ID is 0x00000000, not 0x4743414d"),
        ("VERSION", 2 << 16, "the core has version 2 of registers and packets, program.json version 1"),
        ("DESIGN", 5, "the core is design 0x00000005, program.json describes 0x"),
    ],
)
def test_another_core_is_refused(device, register, word, message):
    Core(device.transport(), device.folder)
    device.words[device.addresses[register]] = word
    with pytest.raises(GradcamError, match=message):
        Core(device.transport(), device.folder)


def test_a_minor_version_is_no_obstacle(device):
    device.words[device.addresses["VERSION"]] += 1
    Core(device.transport(), device.folder)


def test_a_core_at_work_is_refused(device):
    device.results.append(np.zeros(66, "<i4"))
    with pytest.raises(GradcamError, match=r"the core is not idle, STATUS is .*'result': 1.*reset it"):
        Core(device.transport(), device.folder)


def test_a_result_that_does_not_come(device, dram):
    core = Core(device.transport(), device.folder, timeout=0.01)
    core.load_weights()
    device.answers = False
    with pytest.raises(GradcamError, match=r"there is no result within 0.01 s, STATUS is \{'busy': 0"):
        core.run(dram.images[0])
    with pytest.raises(GradcamError, match="a run before this one did not end; reset the core"):
        core.run(dram.images[0])


def test_a_result_of_another_image(device, dram):
    core = Core(device.transport(), device.folder)
    core.load_weights()
    core.run(dram.images[0])
    device.packets += 1
    with pytest.raises(GradcamError, match="the result of packet 2 came, that of 1 was to come; reset the core"):
        core.run(dram.images[0])


def test_an_error_that_was_left(device, dram):
    core = Core(device.transport(), device.folder)
    core.load_weights()
    device.words[device.addresses["ERROR"]] = 0b10010
    with pytest.raises(CoreError) as caught:
        core.run(dram.images[0])
    assert caught.value.bits == ("long_packet", "dram") and core.errors == ()
    assert core.run(dram.images[0]).packet == 0


def test_damaged_weights_and_a_program_alone(device, dram, tmp_path):
    program = Design.load(device.folder).program
    with pytest.raises(GradcamError, match="are in the output folder; name it"):
        Core(device.transport(), program).load_weights()
    (tmp_path / "mem").mkdir()
    shutil.copy(device.folder / "program.json", tmp_path)
    data = bytearray((device.folder / "mem/weights.bin").read_bytes())
    data[3] ^= 1
    (tmp_path / "mem/weights.bin").write_bytes(data)
    with pytest.raises(GradcamError, match="was changed: its SHA-256 is not the compiled one"):
        Core(device.transport(), tmp_path).load_weights()
    core = msgspec.structs.replace(program.core, registers={})
    with pytest.raises(GradcamError, match=r"program\.json has no register ID; compile again"):
        Core(device.transport(), msgspec.structs.replace(program, core=core))


def test_values_that_do_not_fit_a_field(device):
    with pytest.raises(GradcamError, match=r"CLASS_SELECT\.index has 16 bits, 65536 does not fit"):
        Core(device.transport(), device.folder).write("CLASS_SELECT", index=65536)


def test_the_driver_needs_numpy_alone():
    """A board has neither torch nor MLIR."""
    code = (
        "import sys, gradcam.core.driver, gradcam.core.pynq; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"gradcam", "numpy"} <= loaded
    assert not loaded & {"torch", "torch_mlir", "pycde", "systemrdl", "matplotlib", "PIL", "cocotb", "scipy"}
