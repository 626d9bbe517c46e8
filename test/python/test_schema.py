"""The JSON files of a compile: every member of a wrong type, missing or unknown is refused with its path."""

import copy
import dataclasses
import importlib
import json
import re
import subprocess
import sys

import msgspec
import pytest
import rtl_networks

from gradcam.design import Design
from gradcam.errors import GradcamError
from gradcam.output import compile_to_folder
from gradcam.schema.document import read, write
from gradcam.schema.program import Program
from gradcam.schema.report import Report
from gradcam.schema.schedule import Schedule, schedule_text
from gradcam.tools import gradcam_sim

KINDS = {"program.json": Program, "report.json": Report, "schedule.json": Schedule}


@pytest.fixture(scope="module", params=("onchip", "dram", "resident"))
def folder(request, tmp_path_factory):
    """A compile's output; together they have a value for every member."""
    work = tmp_path_factory.mktemp(request.param) / "design"
    net = rtl_networks.last_layer()
    settings = dataclasses.replace(net.settings("4x4"), weights=request.param, clock_mhz=100.0)
    compile_to_folder(net, "test", settings, work)
    return work


def step(name):
    """A member's name as it stands in a path."""
    return f"[{json.dumps(name)}]" if isinstance(name, int) or not name.isidentifier() else f".{name}"


def places(value, structure, path=(), said="$"):
    """Every value of a file, with its place, its path as it is said, and whether it may be left out.

    The structure tells an object with members from a map, whose entries have names of their own.
    """
    if isinstance(value, dict):
        record = isinstance(structure, msgspec.Struct)
        optional = {f.name for f in msgspec.structs.fields(structure) if not f.required} if record else set(value)
        inner = {name: getattr(structure, name) if record else structure[name] for name in value}
    elif isinstance(value, list):
        optional, inner = set(range(len(value))), dict(enumerate(structure))
    else:
        return
    for name, part in inner.items():
        yield (*path, name), said + step(name), name in optional
        yield from places(value[name], part, (*path, name), said + step(name))


def wrong(value):
    """A value of a type that no member has which holds `value`."""
    if isinstance(value, bool):
        return "true"
    if value is None or isinstance(value, str):
        return True  # of what is null here, a number or an object may be elsewhere
    return [] if isinstance(value, dict) else {} if isinstance(value, list) else str(value)


def fault(file, data, kind):
    """The message of a file that has to be refused."""
    file.write_text(json.dumps(data))
    with pytest.raises(GradcamError) as caught:
        read(file, kind)
    message = str(caught.value)
    assert file.name in message and "\n" not in message
    assert kind.REMEDY in message
    return message


@pytest.mark.parametrize("name", KINDS)
def test_every_member(folder, name, tmp_path):
    kind, file = KINDS[name], tmp_path / name
    original, structure = json.loads((folder / name).read_text()), read(folder / name, KINDS[name])
    found = list(places(original, structure))
    assert len(found) > 10
    for path, said, optional in found:
        data = copy.deepcopy(original)
        *way, last = path
        holder = data
        for part in way:
            holder = holder[part]
        value = holder[last]
        holder[last] = wrong(value)
        assert f"{said} must be " in fault(file, data, kind)
        if not optional or (path == ("format",) and not kind.BY_HAND):
            del holder[last]
            assert f"{said} is missing" in fault(file, data, kind)


@pytest.mark.parametrize("name", KINDS)
def test_every_object_with_an_unknown_member(folder, name, tmp_path):
    kind, file = KINDS[name], tmp_path / name
    original, structure = json.loads((folder / name).read_text()), read(folder / name, KINDS[name])
    count = 0
    for path, said in [((), "$"), *((path, said) for path, said, _ in places(original, structure))]:
        data = copy.deepcopy(original)
        holder, part = data, structure
        for name_ in path:
            holder = holder[name_]
            part = getattr(part, name_) if isinstance(part, msgspec.Struct) else part[name_]
        if isinstance(part, msgspec.Struct):
            holder["surprise"] = 1
            assert f"{said}.surprise is unknown" in fault(file, data, kind)
            count += 1
    assert count > 1


def test_together_the_files_have_every_kind_of_object(tmp_path_factory):
    """No structure is declared that the tests above never see."""
    schema = [importlib.import_module(f"gradcam.schema.{name}") for name in ("program", "report", "schedule")]
    declared = {
        value
        for module in schema
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
    }
    seen = set()

    def visit(value):
        seen.add(type(value))
        if isinstance(value, msgspec.Struct):
            value = [getattr(value, f.name) for f in msgspec.structs.fields(value)]
        elif isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            list(map(visit, value))

    net = rtl_networks.last_layer()
    for weights in ("dram", "resident"):
        work = tmp_path_factory.mktemp("kinds") / "design"
        compile_to_folder(net, "test", dataclasses.replace(net.settings("4x4"), weights=weights), work)
        for name, kind in KINDS.items():
            visit(read(work / name, kind))
    assert declared <= seen


@pytest.mark.parametrize("name", KINDS)
def test_what_is_written_is_read(folder, name, tmp_path):
    found = read(folder / name, KINDS[name])
    if name == "schedule.json":
        (tmp_path / name).write_text(schedule_text(found))
    else:
        write(tmp_path / name, found)
    assert read(tmp_path / name, KINDS[name]) == found
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_file_is_written_whole_or_not_at_all(folder, tmp_path):
    report = read(folder / "report.json", Report)
    write(tmp_path / "report.json", report)
    before = (tmp_path / "report.json").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "report.json", msgspec.structs.replace(report, overhead=float("nan")))
    with pytest.raises(GradcamError, match="cannot write"):
        write(tmp_path / "none" / "report.json", report)
    assert (tmp_path / "report.json").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


#: Changes of program.json that its types allow; of its text, of its values.
TEXTS = [
    (lambda text: text[:-3], "is not valid JSON: "),
    (lambda text: "[" * 100_000, "is not valid JSON: it is nested too deeply"),
    (lambda text: "[]", r": \$ must be an object, {...}, got \[\]"),
    (lambda text: text.replace('"format": 6', '"format": 5'), r"\$.format must be 6, the one that this version reads"),
    (lambda text: text.replace('"format": 6,', ""), r"\$.format is missing; an earlier version wrote the file"),
    (lambda text: text.replace('"top"', '"top": "a", "top"', 1), 'the name "top" stands twice in one object'),
    (lambda text: re.sub(r'"scale": [\d.e-]+', '"scale": Infinity', text, count=1), "Infinity is no number"),
    (lambda text: re.sub(r'"scale": [\d.e-]+', '"scale": 1e400', text, count=1), "the number 1e400 is too large"),
    (lambda text: text.replace('"rtl/', '"/etc/', 1), r'\$.rtl has the name "/etc/.*", which must be a file in rtl/'),
    (
        lambda text: text.replace('"phase": "load"', '"phase": "rest"', 1),
        'phase must be "load" or "inference" or "explanation" or',
    ),
]


@pytest.mark.parametrize(("change", "message"), TEXTS)
def test_files_that_are_no_program(folder, tmp_path, change, message):
    text = (folder / "program.json").read_text()
    assert change(text) != text
    (tmp_path / "program.json").write_text(change(text))
    with pytest.raises(GradcamError, match=message) as caught:
        Design.load(tmp_path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith("compile again")


def test_files_that_cannot_be_read(folder, tmp_path):
    (tmp_path / "program.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(GradcamError, match="is not text in UTF-8"):
        Design.load(tmp_path)
    with pytest.raises(GradcamError, match=r"cannot read .*: Is a directory"):
        read(folder, Program)


FIRST = "layers.1.unfold"
VALUES = [
    (
        lambda p: p["buffers"][0].update(bank="bank99"),
        f"buffer '{FIRST}' is in no bank and no register that exist",
    ),
    (lambda p: p["banks"]["bank0"].update(parts=[]), "bank 'bank0' has no memory"),
    (lambda p: p["buffers"][1].update(name=FIRST), f"two buffers have the name '{FIRST}'"),
    (
        lambda p: p["nests"][0]["writes"].append("nowhere"),
        f"nest '{FIRST}' writes 'nowhere', which is no buffer",
    ),
    (
        lambda p: p["nests"][1]["reads"].append("nowhere"),
        "reads 'nowhere', which is no buffer",
    ),
    (lambda p: p["nests"][0].update(follows=0), f"nest '{FIRST}' follows nest 0, not the one before it"),
    (lambda p: p.update(nests=[]), "there are no nests"),
    (lambda p: p["nests"][0].update(writes=[]), f"nest '{FIRST}' writes no buffer|nest 'image' writes no buffer"),
    (lambda p: p["nests"][1]["writes"].pop(), "writes no buffer|no nest writes buffer"),
    (lambda p: p["nests"][-1].update(end=10**9), "cycles to their phases, but the last one ends in 1000000000$"),
    (lambda p: p["nests"][2].update(cycles=10**9), "the nests add 1000[0-9]* cycles to their phases, but the last one"),
    (lambda p: p["nests"][1].update(start=10**9), "nest '.*' ends in cycle [0-9]+, but starts in 1000000000$"),
    (lambda p: p.update(ports=[]), "a design with maps has one port, which takes the class to explain"),
    (lambda p: p["ports"].append(p["ports"][0]), "a design with maps has one port"),
    (lambda p: p["ports"][0].update(bits=31), "port 'class_select' has 31 bits; a class has 32"),
    (lambda p: p.update(memories={}), r"the file 'mem/.*' has no checksum"),
    (lambda p: p.update(top="left_gradcam_top"), "modules 'gradcam_core' and 'left_gradcam_top' are not of one design"),
    (lambda p: p["core"].update(top="core"), "the modules 'core' and 'gradcam_top' are not of one design"),
    (lambda p: p.update(rtl={}), r"the file 'rtl/gradcam_top\.sv' has no checksum"),
    (lambda p: p["streams"][-1].update(explains=None), "stream 'heatmap' must say what it explains if it is a map"),
    (lambda p: p["streams"][-1].update(scale=None), "stream 'heatmap' has no scale"),
    (lambda p: p["streams"].pop(1), "the design has no stream of logits"),
    (lambda p: p["streams"][0].update(lanes=4096), "stream 'image' of shape .* has no whole number of beats"),
    (lambda p: p["preprocessing"].update(mean=[0.5] * 9), "program.json: mean has 9 numbers, the model"),
    (lambda p: p["streams"][0].update(direction="out"), r"the design takes \[\], not one image"),
]


#: Of weights in DRAM alone; `reader` is the first nest with weights.
WEIGHTS = [
    (lambda p, _: p["dram"].update(ring="bank99"), "the ring of weights is in 'bank99', which is no bank"),
    (lambda p, _: p["dram"]["levels"].reverse(), "the levels of the ring of weights do not go on in time"),
    (lambda p, _: p.update(dram=None), "nest '.*' reads weights from DRAM, and there is none"),
    (lambda _, reader: reader["weights"].update(first_beat=10**9), "have their last beat before their first one"),
]


@pytest.mark.parametrize(("change", "message"), WEIGHTS)
def test_weights_that_cannot_come(folder, tmp_path, change, message):
    data = json.loads((folder / "program.json").read_text())
    if data["dram"] is None or data["dram"]["ring"] is None:
        pytest.skip("all weights are on chip")
    change(data, next(nest for nest in data["nests"] if nest["weights"]))
    (tmp_path / "program.json").write_text(json.dumps(data))
    with pytest.raises(GradcamError, match=message):
        Design.load(tmp_path)


@pytest.mark.parametrize(("change", "message"), VALUES)
def test_values_that_contradict_each_other(folder, tmp_path, change, message):
    data = json.loads((folder / "program.json").read_text())
    change(data)
    (tmp_path / "program.json").write_text(json.dumps(data))
    with pytest.raises(GradcamError, match=message):
        Design.load(tmp_path)


def test_a_schedule_of_a_nest_without_loops(tmp_path):
    data = {"nests": {"conv1": {"loops": []}}}
    message = '$.nests.conv1.loops must be a list of loops such as ["oc", "y/8", "x", "y%8"], got []'
    assert message in fault(tmp_path / "schedule.json", data, Schedule)


def test_gradcam_sim_says_it_in_one_line(folder, tmp_path, capsys):
    data = json.loads((folder / "program.json").read_text())
    data["nests"][3]["cycles"] = "5"
    (tmp_path / "design").mkdir()
    (tmp_path / "design" / "program.json").write_text(json.dumps(data))
    assert gradcam_sim.main([str(tmp_path / "design"), "--input", "x.npy", "-o", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    expected = '$.nests[3].cycles must be an integer of at least 0, got "5"; compile again'
    assert line == f"gradcam-sim: error: {(tmp_path / 'design').resolve()}/program.json: {expected}"


def test_the_structures_need_no_mlir():
    code = "import sys, gradcam.design, gradcam.schema.schedule; print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "torch_mlir", "pycde"}


@pytest.mark.parametrize("member", ["ring", "load"])
def test_weights_come_in_every_run_or_once(folder, tmp_path, member):
    data = json.loads((folder / "program.json").read_text())
    if data["dram"] is None:
        pytest.skip("all weights are on chip")
    other = {"ring": next(iter(data["banks"])), "load": {"cycles": 1, "checksum": 0}}
    data["dram"][member] = other[member] if data["dram"][member] is None else None
    (tmp_path / "program.json").write_text(json.dumps(data))
    with pytest.raises(GradcamError, match=r"by one load before them|reads weights from DRAM|has no checksum"):
        Design.load(tmp_path)
