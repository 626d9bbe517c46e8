"""README.md is true: its commands and its Python run, its listings are what they print, its files exist."""

import re

import pytest
from doc_excerpts import fault
from documents import Document, run_python

from gradcam.design import Design

README = Document("README.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands of the document wrote."""
    return README.run_commands(tmp_path_factory.mktemp("readme"))


@pytest.mark.parametrize("block", README.excerpts, ids=lambda b: b.source)
def test_listings_are_printed(folder, block):
    assert (problem := fault(block, README.printed(folder, block))) is None, problem


@pytest.mark.parametrize("block", README.excerpts, ids=lambda b: b.source)
def test_a_changed_digit_is_found(folder, block):
    assert None not in README.faults_of_edits(folder, block)


def test_a_pipeline_runs_in_both_languages():
    assert {b.language for b in README.blocks if b.mark == "run"} == {"sh", "python"}
    assert {b.source for b in README.excerpts} == {"derived.mlir", "simplified.mlir"}


def test_it_can_be_read_in_a_few_minutes():
    assert len(README.text.split()) <= 1500


def test_the_compile_wrote_what_the_readme_lists(folder):
    names = re.findall(r"^\| ((?:`[\w/.*]+`(?:, )?)+) \|", README.text, re.MULTILINE)
    files = [name for cell in names for name in re.findall(r"`(.+?)`", cell)]
    assert "program.json" in files
    for name in files:
        assert list((folder / "build" / "resnet").glob(name)), name
    assert "module gradcam_core" in (folder / "build" / "resnet" / "rtl" / "gradcam_core.sv").read_text()


def test_python_runs_with_the_users_pass_between_the_two(folder):
    code, _ = README.marked("run", "python")
    output = run_python(code, folder)
    assert output.startswith("['gradcam.linear_adjoint', 'gradcam.avg_pool2d_adjoint']\n")
    assert "gradcam.class_row" in output
    assert "adjoint" not in output.partition("\n")[2]


def test_python_compiles_and_simulates(folder):
    _, code = README.marked("run", "python")
    output = run_python(code, folder)
    total = Design.load(folder / "build" / "walkthrough").report().cycles.total
    assert f"total={total}" in output and "(4, 8)" in output
