"""What comes with the RTL: that tool, or a reader of its language, reads each file; it names what is there."""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from fusesoc_runs import fusesoc
from rtl_networks import last_layer, sums

from gradcam.core.register_map import register_map
from gradcam.design import Design
from gradcam.output import compile_to_folder
from gradcam.package import TEXTS
from gradcam.package.ipxact import SPIRIT, buses_of
from gradcam.package.software import register_document
from gradcam.schema.program import Port

CORE = "gradcam:mlir:gradcam_core"
S = {"s": SPIRIT}

#: Commands of Vivado that the script uses; each says what it was called with, in which folder.
STUBS = """
foreach name {read_verilog read_mem read_xdc synth_design opt_design place_design phys_opt_design route_design
              report_utilization report_timing_summary write_checkpoint} {
    proc $name args "puts \\[list $name \\[pwd\\] {*}\\[concat {*}\\$args\\]\\]"
}
set argv [lassign $argv script]
set argc [llength $argv]
source $script
"""


@pytest.fixture(scope="module", params=("onchip", "dram"))
def folder(request, tmp_path_factory):
    work = tmp_path_factory.mktemp(request.param) / "design"
    net = sums() if request.param == "onchip" else last_layer()
    compile_to_folder(net, "test", replace(net.settings("4x4"), weights=request.param), work)
    return work


def run(command, folder, **environment):
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rtl_ports(folder):
    """The ports of the core as slang reads them: name, direction, bits."""
    from pyslang.ast import Compilation
    from pyslang.syntax import SyntaxTree

    compilation = Compilation()
    for path in sorted((folder / "rtl").glob("*.sv")):
        compilation.addSyntaxTree(SyntaxTree.fromFile(str(path)))
    (core,) = (i for i in compilation.getRoot().topInstances if i.name == "gradcam_core")
    return {(p.name, str(p.direction).rpartition(".")[2].lower(), int(p.type.bitWidth)) for p in core.body.portList}


def test_the_folder_has_them(folder):
    assert set(TEXTS) <= {path.name for path in folder.iterdir()}


def test_the_program_has_the_ports_of_the_rtl(folder):
    ports = Design.load(folder).program.core.ports
    assert {(port.name, port.direction, port.bits) for port in ports} == rtl_ports(folder)


# FuseSoC.


def test_fusesoc_lints_the_core(folder, tmp_path):
    done = fusesoc(folder, tmp_path, "run", "--target", "lint", "--build-root", tmp_path / "build", CORE)
    # Verilator's own words: whether make prints its commands is up to a make that runs this test.
    assert done.returncode == 0 and "Built from" in done.stdout, done.stdout + done.stderr
    program = Design.load(folder).program
    (work,) = (tmp_path / "build").glob("*/lint")
    assert {f"rtl/{p.name}" for p in work.glob("src/*/rtl/*")} == set(program.rtl)
    # Where the tool runs, the RTL finds its images.
    images = re.findall(r'\$readmemh\("(.+?)"', "".join(p.read_text() for p in (folder / "rtl").glob("*.sv")))
    assert images and all((work / name).read_bytes() == (folder / name).read_bytes() for name in images)


def test_fusesoc_finds_a_broken_file(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    with (broken / "rtl" / "gradcam_core.sv").open("a") as file:
        file.write("module\n")
    done = fusesoc(broken, tmp_path, "run", "--target", "lint", "--build-root", tmp_path / "build", CORE)
    assert done.returncode != 0 and "syntax error" in done.stdout + done.stderr


def test_fusesoc_sets_a_synthesis_up(folder, tmp_path):
    arguments = ("run", "--setup", "--target", "synth", "--build-root", tmp_path / "build", CORE)
    done = fusesoc(folder, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    (script,) = (tmp_path / "build").glob("*/synth/*1.1.0.tcl")
    text = script.read_text()
    assert "set_property top gradcam_core" in text and "gradcam_core.xdc" in text
    assert text.count("read_verilog -sv") == len(list((folder / "rtl").iterdir()))


# Vivado.


def vivado(script, tmp_path, *arguments):
    """The commands that a script gives, as (name, folder, arguments); Vivado's own do nothing but that."""
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh is not installed")
    (tmp_path / "stubs.tcl").write_text(STUBS)
    done = run(["tclsh", tmp_path / "stubs.tcl", script, *arguments], tmp_path)
    calls = [line.split() for line in done.stdout.splitlines()]
    return done, [(name, Path(where), words) for name, where, *words in calls]


def test_vivado_script(folder, tmp_path):
    done, calls = vivado(folder / "vivado.tcl", tmp_path, "xc7z020clg400-1", "results")
    assert done.returncode == 0, done.stderr
    read = {name: words for name, _, words in calls}
    assert all(where == folder.resolve() for _, where, _ in calls)
    named = [*read["read_verilog"][1:], *read["read_mem"], *read["read_xdc"]]
    rtl_and_images = {str(p.relative_to(folder)) for p in folder.glob("*/*") if p.suffix in (".sv", ".hex")}
    assert set(named) == rtl_and_images | {"gradcam_core.xdc"}
    assert read["synth_design"][:4] == ["-top", "gradcam_core", "-part", "xc7z020clg400-1"]
    order = ["read_xdc", "synth_design", "opt_design", "place_design", "route_design"]
    names = [name for name, *_ in calls]
    assert sorted(order, key=names.index) == order
    written = [Path(words[-1]) for name, _, words in calls if name.startswith(("report", "write"))]
    assert len(written) == 6 and {path.parent for path in written} == {tmp_path / "results"}
    assert (tmp_path / "results").is_dir()


def test_vivado_script_refuses_a_third_argument(folder, tmp_path):
    done, calls = vivado(folder / "vivado.tcl", tmp_path, "a", "b", "c")
    assert done.returncode != 0 and "usage: vivado" in done.stderr and not calls


def test_the_constraint_names_the_clock(folder):
    (line,) = (x for x in (folder / "gradcam_core.xdc").read_text().splitlines() if not x.startswith("#"))
    assert line == "create_clock -name aclk -period 5.000 [get_ports aclk]"


def test_the_clock_of_the_compile_is_that_of_the_projects(tmp_path):
    net = last_layer()
    compile_to_folder(net, "test", replace(net.settings("4x4"), clock_mhz=125.0), tmp_path / "design")
    assert "-period 8.000 " in (tmp_path / "design/gradcam_core.xdc").read_text()
    root = ET.parse(tmp_path / "design/component.xml").getroot()
    parameters = root.iterfind("s:busInterfaces/s:busInterface/s:parameters/s:parameter", S)
    values = {p.findtext("s:name", None, S): p.findtext("s:value", None, S) for p in parameters}
    assert values["FREQ_HZ"] == "125000000"


# IP-XACT.


def test_component(folder):
    root = ET.parse(folder / "component.xml").getroot()
    ports = {
        (
            port.findtext("s:name", None, S),
            port.findtext("s:wire/s:direction", None, S),
            int(port.findtext("s:wire/s:vector/s:left", "0", S)) + 1,
        )
        for port in root.iterfind("s:model/s:ports/s:port", S)
    }
    assert ports == rtl_ports(folder)
    used = [e.text for e in root.iterfind(".//s:physicalPort/s:name", S)]
    assert sorted(used) == sorted(name for name, *_ in ports)  # every port is in one interface
    buses = {e.findtext("s:name", None, S): e for e in root.iterfind("s:busInterfaces/s:busInterface", S)}
    weights = {"m_axi_weights"} if any(name.startswith("m_axi_weights") for name, *_ in ports) else set()
    assert set(buses) == {*("s_axi_control", "s_axis_image", "m_axis_result", "aclk", "aresetn", "interrupt"), *weights}
    kinds = {name: bus.find("s:busType", S).get(f"{{{SPIRIT}}}name") for name, bus in buses.items()}
    assert kinds["s_axis_image"] == kinds["m_axis_result"] == "axis" and kinds["s_axi_control"] == "aximm"
    assert ("addressSpaces" in {e.tag.rpartition("}")[2] for e in root}) == bool(weights)
    files = [e.text for e in root.iterfind("s:fileSets/s:fileSet/s:file/s:name", S)]
    assert files and all((folder / name).is_file() for name in files)


def test_component_has_the_registers(folder):
    root = ET.parse(folder / "component.xml").getroot()
    (block,) = root.iterfind("s:memoryMaps/s:memoryMap/s:addressBlock", S)
    found = {
        (
            register.findtext("s:name", None, S),
            int(register.findtext("s:addressOffset", None, S), 0),
            field.findtext("s:name", None, S),
            int(field.findtext("s:bitOffset", None, S)),
            int(field.findtext("s:bitWidth", None, S)),
        )
        for register in block.iterfind("s:register", S)
        for field in register.iterfind("s:field", S)
    }
    assert found == {(r.name, r.address, f.name, f.low, f.bits) for r in register_map() for f in r.fields}
    assert block.findtext("s:range", None, S) == "4096"


def test_a_port_that_no_interface_has_is_none_of_axi():
    """What the ports make up follows from their names alone."""
    names = ("aclk", "s_axis_image_tdata", "s_axi_control_araddr", "m_axi_weights_rdata")
    ports = [Port(name, "in", 1) for name in names]
    found = {bus.name: (bus.kind[1], bus.mode) for bus in buses_of(ports, 1)}
    assert found["s_axis_image"] == ("axis", "slave")
    assert found["s_axi_control"] == ("aximm", "slave") and found["m_axi_weights"] == ("aximm", "master")


# Software.


@pytest.mark.parametrize("compiler", (("gcc", "c"), ("g++", "c++")))
def test_headers_compile_and_say_the_same_as_the_map(folder, tmp_path, compiler):
    command, language = compiler
    lines = ["#include <stddef.h>", '#include "gradcam_core.h"', '#include "gradcam_packets.h"']
    facts = []
    for register in register_map():
        facts.append(f"offsetof(gradcam_core_t, {register.name}) == {register.address}")
        for field in register.fields:
            name = f"GRADCAM_CORE__{register.name}__{field.name.upper()}"
            facts += [f"{name}_bp == {field.low}", f"{name}_bw == {field.bits}"]
            facts.append(f"{name}_bm == {hex(((1 << field.bits) - 1) << field.low)}u")
    program = Design.load(folder).program
    facts.append(f"GRADCAM_FINGERPRINT == {program.core.fingerprint}u")
    facts.append(f"GRADCAM_IMAGE_BEATS == {program.inputs[0].beats}")
    facts.append(f"GRADCAM_IMAGE_BEAT_BYTES == {program.core.image_bytes}")
    place = 0
    for name, words in program.fields.items():
        facts.append(f"GRADCAM_{name.upper()}_WORD == {place}")
        place += words
    facts.append(f"GRADCAM_RESULT_WORDS == {place}")

    def compiled(claims):
        keyword = "_Static_assert" if language == "c" else "static_assert"
        text = "\n".join([*lines, *(f'{keyword}({claim}, "{claim}");' for claim in claims)])
        (tmp_path / "check.c").write_text(text + "\nint main(void) { return 0; }\n")
        return run([command, "-x", language, "-Wall", "-Werror", "-fsyntax-only", "-I", folder, "check.c"], tmp_path)

    done = compiled(facts)
    assert done.returncode == 0, done.stderr
    assert compiled([facts[-1].replace("==", "!=")]).returncode != 0


def test_the_document_names_every_field(folder):
    text = (folder / "registers.md").read_text()
    assert text == register_document()
    for register in register_map():
        section = text.partition(f"### {register.name} register\n")[2].partition("\n### ")[0]
        assert f"Absolute Address: 0x{register.address:X}\n" in section
        plain = re.sub(r"</?code>", "`", section)
        for field in register.fields:
            assert f"#### {field.name} field\n\n<p>{field.text}</p>" in plain, field.name
