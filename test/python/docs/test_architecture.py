"""docs/architecture.md is true: its commands run, its excerpts are printed by the compiler, its tables exist."""

import re

import pytest
from doc_excerpts import Block, fault
from documents import Document, run_python
from folders import ROOT

from gradcam.passes.infra.registry import pass_names

ARCHITECTURE = Document("docs/architecture.md", output="build/walkthrough")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands of the document wrote."""
    return ARCHITECTURE.run_commands(tmp_path_factory.mktemp("architecture"))


@pytest.mark.parametrize("block", ARCHITECTURE.excerpts, ids=lambda b: f"line-{b.number}")
def test_excerpts_are_printed(folder, block):
    assert (problem := fault(block, ARCHITECTURE.printed(folder, block))) is None, problem


@pytest.mark.parametrize("block", ARCHITECTURE.excerpts, ids=lambda b: f"line-{b.number}")
def test_a_changed_digit_is_found(folder, block):
    """The negative of the test above: every line of an excerpt counts."""
    assert None not in ARCHITECTURE.faults_of_edits(folder, block)


def test_there_is_an_excerpt_of_every_level():
    assert len(ARCHITECTURE.excerpts) >= 12


def test_python_runs(folder):
    (code,) = ARCHITECTURE.marked("run", "python")
    run_python(code, folder)


@pytest.mark.parametrize("lines", (["a", "c"], ["b", "a"], ["a", "...", "a"], ["c", "...", "b"], ["x...z"]))
def test_order_and_adjacency_count(lines):
    assert fault(Block("excerpt: f", "text", lines, 1), ["a", "b", "c"]) is not None


@pytest.mark.parametrize("lines", (["a", "b"], ["a", "...", "b and d"], ["...", "b and d"], ["b", "b...d"]))
def test_elisions(lines):
    assert fault(Block("excerpt: f", "text", lines, 1), ["a", "b", "b and d"]) is None


def test_every_pass_is_explained():
    assert [name for name in pass_names() if f"`{name}`" not in ARCHITECTURE.text] == []


def test_named_tables_exist():
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})`", ARCHITECTURE.text))
    sources = [f.read_text(encoding="utf-8") for d in ("dialect", "passes", "python") for f in (ROOT / d).rglob("*.py")]
    assert {"ADJOINTS", "KERNELS", "LOWERINGS"} <= named
    assert [n for n in named if not any(re.search(rf"^{n}\b", s, re.MULTILINE) for s in sources)] == []
