"""README.md is true: its commands and its Python run, its listings are what they print, its files and passes exist."""

import os
import re
import subprocess
import sys

import pytest
from doc_excerpts import Block, blocks, fault, find_source
from folders import BIN, ROOT
from measures import GOOD

from gradcam.demonstration import demonstrate
from gradcam.dialect.methods import METHODS
from gradcam.figures import figures
from gradcam.passes.infra import registry
from gradcam.tools.gradcam_sim import _parser

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(TEXT)
EXCERPTS = [b for b in BLOCKS if b.source]


def run(command, folder):
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the README's shell blocks ran: a folder that stands for the root of the repository."""
    work = tmp_path_factory.mktemp("readme")
    (work / "examples").symlink_to(ROOT / "examples")
    for block in BLOCKS:
        if block.mark == "run" and block.language == "sh":
            run(["bash", "-e", "-c", "\n".join(block.lines)], work)
    return work


def printed(folder, block):
    return find_source(folder, block.source).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda b: b.source)
def test_listings_are_printed(folder, block):
    assert (problem := fault(block, printed(folder, block))) is None, problem


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda b: b.source)
def test_a_changed_digit_is_found(folder, block):
    for i, line in enumerate(block.lines):
        edited = [*block.lines[:i], line + "0", *block.lines[i + 1 :]]
        assert fault(Block(block.mark, block.language, edited, block.number), printed(folder, block)) is not None


def test_every_listing_is_checked():
    assert [b.number for b in BLOCKS if b.language == "mlir" and not b.source] == []
    assert [b.language for b in BLOCKS if b.mark == "run"] == ["sh", "python", "sh", "sh"]


def test_the_compile_wrote_what_the_readme_lists(folder):
    names = re.findall(r"^\| ((?:`[\w/.*]+`(?:, )?)+) \|", TEXT, re.MULTILINE)
    files = [name for cell in names for name in re.findall(r"`(.+?)`", cell)]
    assert "program.json" in files
    for name in files:
        assert list((folder / "build" / "resnet").glob(name)), name
    assert "module gradcam_top" in (folder / "build" / "resnet" / "rtl" / "gradcam_top.sv").read_text()


def test_python_runs_with_the_users_pass_between_the_two(folder):
    (block,) = (b for b in BLOCKS if b.language == "python")
    output = run([sys.executable, "-c", "\n".join(block.lines)], folder)
    assert output.startswith("['gradcam.linear_adjoint', 'gradcam.avg_pool2d_adjoint']\n")
    assert "gradcam.class_row" in output
    assert "adjoint" not in output.partition("\n")[2]


def test_the_simulator_takes_the_command():
    commands = [line for b in BLOCKS for line in b.lines if line.startswith("gradcam-sim")]
    options = [_parser().parse_args(command.split()[1:]) for command in commands]
    assert all((ROOT / o.input).is_file() for o in options)
    assert [o.trace for o in options] == [True, False] and options[1].dram_stall == 1


def test_pictures_and_links_exist():
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in t]
    assert len(targets) >= 4
    assert [t for t in targets if not (ROOT / t).is_file()] == []


def test_named_passes_exist():
    tools = {"gradcam-import", "gradcam-opt", "gradcam-compile", "gradcam-sim", "gradcam-synth", "gradcam-mlir"}
    pictures = (ROOT / "docs" / "pictures.py").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:gradcam|convert)-[a-z0-9-]+", TEXT + pictures)) - tools - set(METHODS)
    assert len(named) > 5
    assert [n for n in named if not registry.is_pass(n) and n not in registry.PIPELINES] == []


def test_the_table_has_the_rows_of_the_demonstration():
    """The names of the rows only: what they say was measured on one machine."""
    rows = [row.what for row in figures(GOOD) if "8x8" not in row.what and "pointing" not in row.what]
    listed = [line.split("|")[1].strip() for line in TEXT.splitlines() if re.match(r"\| .* \| yes \|$", line)]
    assert [row for row in rows if row not in listed] == []
    assert demonstrate.__doc__ is not None
    for name in ("overlays", "heatmaps.npz", "report.json", "table.md"):
        assert name in demonstrate.__doc__
        assert f"`{name}" in TEXT
