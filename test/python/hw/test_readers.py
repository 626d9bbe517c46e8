"""Yosys and Icarus read the emitted SystemVerilog from the output folder, besides Verilator."""

import shutil
import subprocess

import pytest
import rtl_networks

from gradcam.errors import GradcamError
from gradcam.synth.tools import run_logged, yosys

ICARUS = shutil.which("iverilog")


def fault_of_yosys(folder, temporary):
    script = "read_verilog -sv rtl/*.sv; hierarchy -check -top gradcam_top; proc; check -assert"
    try:
        run_logged(yosys(), ["-p", script], folder, temporary / "yosys.log", lambda _: None)
    except GradcamError as error:
        return str(error)
    return None


def fault_of_icarus(folder, temporary):
    files = sorted(str(p.relative_to(folder)) for p in folder.glob("rtl/*.sv"))
    command = [ICARUS, "-g2012", "-t", "null", "-s", "gradcam_top", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else None


READERS = [
    pytest.param(fault_of_yosys, id="yosys"),
    pytest.param(
        fault_of_icarus, id="icarus", marks=pytest.mark.skipif(ICARUS is None, reason="iverilog is not on PATH")
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers") / "design"
    rtl_networks.design(rtl_networks.table(), "4x4", folder)
    return folder


@pytest.mark.parametrize("fault", READERS)
def test_a_tool_reads_and_elaborates_every_file(folder, fault, tmp_path):
    assert fault(folder, tmp_path) is None


@pytest.mark.parametrize("fault", READERS)
def test_a_missing_module_is_found(folder, fault, tmp_path):
    """The negative test: elaboration fails when a file is missing."""
    shutil.copytree(folder, tmp_path / "design")
    (tmp_path / "design/rtl/bank0.sv").unlink()
    assert "bank0" in fault(tmp_path / "design", tmp_path)


def test_every_file_says_where_its_module_came_from(folder):
    text = {p.stem: p.read_text() for p in folder.glob("rtl/*.sv")}
    comments = {n: " ".join(t.splitlines()[1 : t[: t.index("module ")].count("\n")]) for n, t in text.items()}
    assert all(c.startswith("// ") for c in comments.values()), comments
    assert "Engine mac" in comments["engine_mac"] and "explain.map" in comments["engine_mac"]
