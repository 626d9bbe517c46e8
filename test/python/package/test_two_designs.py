"""Two designs with names in one project: nothing of them collides, and both compute what they compute alone."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from core import Reference
from fusesoc_runs import fusesoc
from rtl_networks import last_layer, sums

from gradcam.core.driver import image_beats
from gradcam.design import Design
from gradcam.output import compile_to_folder
from gradcam.verilator import find_toolchain

NETWORKS = {"left": sums, "right": last_layer}
IMAGES = 2

#: Sends images to the core of a design, and prints the words of its results.
PART = """
  reg [{last}:0] {name}_image [0:{beats} - 1];
  reg [31:0] {name}_sent, {name}_got;
  wire {name}_taken, {name}_valid;
  wire [31:0] {name}_word;
  initial $readmemh("{name}.hex", {name}_image);
  {core} {name} (
    .aclk(clk), .aresetn(!rst),
    .s_axi_control_awvalid(1'b0), .s_axi_control_awaddr(12'b0), .s_axi_control_awprot(3'b0),
    .s_axi_control_wvalid(1'b0), .s_axi_control_wdata(32'b0), .s_axi_control_wstrb(4'b0), .s_axi_control_bready(1'b1),
    .s_axi_control_arvalid(1'b0), .s_axi_control_araddr(12'b0), .s_axi_control_arprot(3'b0),
    .s_axi_control_rready(1'b1),
    .s_axis_image_tvalid({name}_sent != {beats}), .s_axis_image_tready({name}_taken),
    .s_axis_image_tdata({name}_image[{name}_sent]), .s_axis_image_tlast({name}_sent % {packet} == {packet} - 1),
    .m_axis_result_tvalid({name}_valid), .m_axis_result_tready(1'b1), .m_axis_result_tdata({name}_word)
  );
  always @(posedge clk) begin
    if (rst) begin {name}_sent <= 0; {name}_got <= 0; end
    else begin
      if ({name}_sent != {beats} && {name}_taken) {name}_sent <= {name}_sent + 1;
      if ({name}_valid) begin $display("{name} %0d", $signed({name}_word)); {name}_got <= {name}_got + 1; end
    end
  end
"""

MAIN = """
#include "Vproject.h"
int main() {
  VerilatedContext context;
  Vproject top(&context);
  for (int cycle = 0; cycle < 100000 && !context.gotFinish(); ++cycle) {
    top.rst = cycle < 4;
    for (int clock = 0; clock < 2; ++clock) {
      top.clk = clock;
      top.eval();
    }
  }
  return !context.gotFinish();
}
"""


def compiled(work, named=True):
    for name, make in NETWORKS.items():
        settings = replace(make().settings("4x4"), name=name if named else None, validate=False)
        compile_to_folder(make(), name, settings, work / name)
    return {name: Design.load(work / name) for name in NETWORKS}


@pytest.fixture(scope="module")
def designs(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("designs"))


def project(designs, work):
    """A project in `work`, which has the files of both designs in the same folders: its top, and its images."""
    parts, ends, images = "", [], {}
    for name, design in designs.items():
        for folder in ("rtl", "mem"):
            shutil.copytree(design.folder / folder, work / folder, dirs_exist_ok=True)
        program = design.program
        images[name] = NETWORKS[name]().images(IMAGES)
        beats = image_beats(images[name], program.inputs[0].lanes, program.core.image_bytes)
        words = [beat[::-1].tobytes().hex() for image in beats for beat in image]
        (work / f"{name}.hex").write_text("\n".join(words) + "\n")
        sizes = {"last": 8 * program.core.image_bytes - 1, "beats": len(words), "packet": program.inputs[0].beats}
        parts += PART.format(name=name, core=program.core.top, **sizes)
        ends.append(f"{name}_got == {IMAGES * program.packet_words}")
    finish = f"  always @(posedge clk) if (!rst && {' && '.join(ends)}) $finish;\n"
    (work / "project.v").write_text(f"module project(input clk, input rst);{parts}{finish}endmodule\n")
    (work / "main.cpp").write_text(MAIN)
    return images


def verilate(work, *flags):
    toolchain = find_toolchain()
    sources = ["project.v", *sorted(str(path.relative_to(work)) for path in (work / "rtl").iterdir())]
    flags = (*(flags or ("--cc", "--exe", "main.cpp")), "--top-module", "project", "-Mdir", "obj", "-Wno-lint", "-O1")
    return toolchain.run([toolchain.verilator, *flags, *sources], work)


def results(work):
    """The words that each core of a built project gave."""
    toolchain = find_toolchain()
    done = toolchain.run([work / "obj/Vproject"], work)
    assert done.returncode == 0, done.stdout
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(tuple(NETWORKS))]
    return {name: [int(word) for of, word in lines if of == name] for name in NETWORKS}


@pytest.fixture(scope="module")
def built(designs, tmp_path_factory):
    work = tmp_path_factory.mktemp("project")
    images, toolchain = project(designs, work), find_toolchain()
    done = verilate(work)
    assert done.returncode == 0, done.stdout
    done = toolchain.run(toolchain.make_command(work / "obj/Vproject.mk", OPT_FAST="-O0", OPT_GLOBAL="-O0"), work)
    assert done.returncode == 0, done.stdout
    references = {name: Reference(design, images[name]) for name, design in designs.items()}
    wanted = {n: [w for image in range(IMAGES) for w in r.words(image, -1, image)] for n, r in references.items()}
    return work, wanted


def test_both_compute_the_integers_of_the_reference(built):
    work, wanted = built
    assert results(work) == wanted and all(np.unique(words).size > 5 for words in wanted.values())


def test_a_changed_word_of_a_memory_of_one_is_found(built, tmp_path):
    """The negative test; and the other one does not read that memory."""
    work, wanted = built
    shutil.copytree(work, tmp_path / "project")
    path = tmp_path / "project/mem/right_biases.hex"
    path.write_text("".join(digit if digit == "\n" else "1" for digit in path.read_text()))
    found = results(tmp_path / "project")
    assert found["left"] == wanted["left"] and found["right"] != wanted["right"]


def test_no_file_that_a_project_takes_has_the_same_name(designs):
    same = {"vivado.tcl", "component.xml", "registers.md", "program.json", "schedule.json"}
    same |= {"report.json", "report.txt", "report.html", "ir/quantized.mlirbc", "ir/float.mlirbc"}
    left, right = ({str(p.relative_to(d.folder)) for p in d.folder.rglob("*.*")} for d in designs.values())
    assert left & right == same


@pytest.mark.parametrize(("compiler", "language"), [("gcc", "c"), ("g++", "c++")])
def test_the_headers_of_both_fit_one_program(designs, tmp_path, compiler, language):
    lines = [f'#include "{name}_gradcam_{part}.h"' for name in NETWORKS for part in ("core", "packets")]
    uses = [f"static {name}_gradcam_core_t *{name};" for name in NETWORKS]
    for name, design in designs.items():
        mask = f"{name.upper()}_GRADCAM_CORE__STATUS__RESULT_bm"
        fingerprint = f"{name.upper()}_GRADCAM_FINGERPRINT == {design.program.core.fingerprint}u"
        uses.append(f"int check_{name}(void) {{ return {name}->STATUS & {mask} && {fingerprint}; }}")
    (tmp_path / "both.c").write_text("\n".join([*lines, *uses]) + "\n")
    includes = [f"-I{design.folder}" for design in designs.values()]
    command = [compiler, "-x", language, "-Wall", "-Werror", "-fsyntax-only", *includes, "both.c"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    macros = {name: set(re.findall(r"#define (\w+)", header_text(designs[name]))) for name in NETWORKS}
    assert macros["left"] and not macros["left"] & macros["right"]


def header_text(design):
    return "".join(path.read_text() for path in design.folder.glob("*.h"))


def test_without_names_they_collide(tmp_path):
    """The negative test: what the names are for."""
    designs = compiled(tmp_path / "designs", named=False)
    left, right = (set(design.program.rtl) for design in designs.values())
    assert {"rtl/gradcam_core.sv", "rtl/registers.sv", "rtl/bank0.sv"} <= left & right
    (tmp_path / "work").mkdir()
    project(designs, tmp_path / "work")
    for path in designs["left"].rtl_files:  # the files of the other design took the places of these
        shutil.copy(path, tmp_path / "work/rtl" / f"left_{path.name}")
    done = verilate(tmp_path / "work", "--lint-only")
    assert done.returncode and "Duplicate declaration of module: 'gradcam_core'" in done.stdout


def test_fusesoc_takes_both(designs, tmp_path):
    roots = tmp_path / "cores"
    for name, design in designs.items():
        shutil.copytree(design.folder, roots / name)
    project(designs, roots)
    for folder in ("rtl", "mem"):
        shutil.rmtree(roots / folder)
    depends = "".join(f"    - gradcam:mlir:{name}_gradcam_core\n" for name in NETWORKS)
    (roots / "project.core").write_text(
        "CAPI=2:\nname: ::project:0\nfilesets:\n  top:\n    files: [project.v: {file_type: verilogSource}]\n"
        f"    depend:\n{depends}targets:\n  lint:\n    filesets: [top]\n    toplevel: project\n    flow: lint\n"
        "    flow_options: {tool: verilator, verilator_options: [-Wno-lint, -Wno-SYMRSVDWORD]}\n"
    )
    done = fusesoc(roots, tmp_path, "run", "--target", "lint", "--build-root", tmp_path / "build", "::project:0")
    assert done.returncode == 0 and "Built from" in done.stdout, done.stdout + done.stderr
    found = {path.name for path in (tmp_path / "build").rglob("rtl/*.sv")}
    assert found == {name.removeprefix("rtl/") for design in designs.values() for name in design.program.rtl}
