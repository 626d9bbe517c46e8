"""Software that uses the driver on a simulated core; what each function gives back goes into the log as JSON."""

import numpy as np

from gradcam.core.driver import Core, CoreError
from gradcam.design import Design
from gradcam.errors import GradcamError

TIMEOUT = 120.0  # seconds, for a slow machine


def plain(result):
    return {
        "packet": result.packet,
        "classes": result.classes.tolist(),
        "outputs": [part.tolist() for part in (result.logits, *result.heatmaps)],
    }


def refused(function, *arguments):
    """The message that a call is refused with."""
    try:
        function(*arguments)
    except GradcamError as error:
        return error.message
    raise AssertionError(f"{function} took {arguments}")


def images(transport, folder, file):
    """Images one by one, back to back, with a class of their own, and when started; then what the core says of them."""
    core, pixels = Core(transport, folder, TIMEOUT), np.load(file)
    if core.weights_in_dram:
        core.load_weights()
    results = [core.run(pixels[0]), *core.run_many(pixels), core.run(pixels[1], 1)]
    core.run_on_arrival = False
    results += core.run_many(pixels[:2])
    core.run_on_arrival = True
    core.enable_interrupt(done=True)
    pending = [core.acknowledge()["done"], core.acknowledge()["done"]]
    real = core.dequantize(results[0])
    return {
        "results": [plain(result) for result in results],
        "counters": core.counters,
        "status": core.status,
        "pending": pending,
        "real": [part.tolist() for part in (real[0], *real[1])],
    }


def full(transport, folder, file):
    """As many images as go in while no result is taken; what STATUS says then; their results."""
    core, pixels = Core(transport, folder, TIMEOUT), np.load(file)
    transport.hold(True)
    for image in pixels[:3]:
        transport.send(core.packet(image))
    transport.wait(4 * Design.load(folder).program.cycles.total)
    status, size = core.status, 4 * core.read("RESULT", "beats")
    transport.hold(False)
    return {"status": status, "results": [plain(core.decode(transport.receive(size))) for _ in range(3)]}


def refusals(transport, folder, file):
    """What the driver refuses before the core sees anything of it."""
    core, pixels = Core(transport, folder, TIMEOUT), np.load(file)
    messages = [
        refused(core.run, pixels[0][:, 1:]),
        refused(core.run, pixels[0].astype(np.int32)),
        refused(core.run, np.full(pixels[0].shape, np.nan, np.float32)),
        refused(core.run, pixels[0], 2),
        refused(core.run, pixels[0], -1),
        refused(setattr, core, "weights_address", 0),
        refused(core.load_weights),
    ]
    return {"messages": messages, "after": plain(core.run(pixels[0]))}


def errors(transport, folder, file):
    """Errors of the core between good images: packets of a wrong size, a class and a start that others ask for."""
    core, pixels = Core(transport, folder, TIMEOUT), np.load(file)
    seen, good = [], []

    def reported(when):
        try:
            core.run(pixels[0])
        except CoreError as error:
            seen.append([*error.bits, when, error.message])
        good.append(plain(core.run(pixels[1])))

    packet = core.packet(pixels[0])
    transport.send(packet[: len(packet) // 2])
    transport.wait(20)
    reported("a short packet")
    transport.send(packet + packet)
    transport.wait(20)
    reported("a long one")
    core.write("CLASS_SELECT", index=99)
    transport.send(packet)
    transport.wait(20)
    reported("a class")
    core.run_on_arrival = False
    core.start()
    core.start()
    reported("two starts")
    return {"seen": seen, "good": good, "left": core.errors}


def dram_errors(transport, folder, file):
    """An error response while images run back to back; before, a run without weights."""
    core, pixels = Core(transport, folder, TIMEOUT), np.load(file)
    missing = refused(core.run, pixels[0])
    core.load_weights()
    address, odd = core.weights_address, refused(setattr, core, "weights_address", 4096 + 64)
    transport.fail()
    try:
        core.run_many(pixels[:3])
    except CoreError as error:
        bits, message = error.bits, error.message
    return {
        "missing": missing,
        "address": address,
        "odd": odd,
        "bits": bits,
        "message": message,
        "good": [plain(result) for result in core.run_many(pixels[:3])],
    }


def resident(transport, folder, file, other):
    """Runs without weights, with those of another compile, and loads that go wrong, between good ones."""
    core, pixels = Core(transport, folder, TIMEOUT), np.load(file)
    gave = {"missing": refused(core.run, pixels[0])}
    # What the driver refuses, the core holds back: the image runs when the weights are there.
    transport.send(core.packet(pixels[0]))
    transport.wait(4 * Design.load(folder).program.cycles.total)
    gave["held"] = core.status
    core.load_weights()
    gave["first"] = plain(core.decode(transport.receive(4 * core.read("RESULT", "beats"))))
    gave["good"] = [plain(core.run(pixels[1])), plain(Core(transport, folder, TIMEOUT).run(pixels[2]))]
    gave["cycles"] = core.counters["load"]
    place = transport.place
    transport.place = lambda data: place(data[:40] + bytes([data[40] ^ 4]) + data[41:])
    gave["changed"] = [refused(core.load_weights), refused(core.run, pixels[0])]
    transport.place = place
    transport.fail()
    try:
        core.load_weights()
    except CoreError as error:
        gave["bits"], gave["failed"] = error.bits, error.message
    gave["after"] = [core.status["loaded"], refused(core.run, pixels[0])]
    core.load_weights()
    second = Core(transport, other, TIMEOUT)
    gave["others"] = refused(second.run, pixels[0])
    second.load_weights()
    gave["second"] = plain(second.run(pixels[0]))
    gave["back"] = refused(core.run, pixels[0])
    return gave
