"""docs/architecture.md is true: its commands run, its excerpts are what the compiler prints, its files exist."""

import os
import re
import subprocess
import sys

import pytest
from doc_excerpts import Block, blocks, fault, find_source
from folders import BIN, ROOT

from gradcam.passes.infra.registry import pass_names

ARCHITECTURE = ROOT / "docs" / "architecture.md"
BLOCKS = blocks(ARCHITECTURE.read_text(encoding="utf-8"))
EXCERPTS = [b for b in BLOCKS if b.source]


def run_blocks(language):
    return ["\n".join(b.lines) + "\n" for b in BLOCKS if b.mark == "run" and b.language == language]


def run(command, folder):
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the document's commands ran: a folder that stands for the root of the repository."""
    work = tmp_path_factory.mktemp("docs")
    (work / "examples").symlink_to(ROOT / "examples")
    (commands,) = run_blocks("sh")
    run(["bash", "-e", "-c", commands], work)
    return work


def printed(folder, block):
    source = ROOT / block.source  # a file of the repository, or of the compile
    found = source if source.exists() else find_source(folder / "build" / "walkthrough", block.source)
    return found.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda b: f"line-{b.number}")
def test_excerpts_are_printed(folder, block):
    assert (problem := fault(block, printed(folder, block))) is None, problem


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda b: f"line-{b.number}")
def test_a_changed_digit_is_found(folder, block):
    """The negative of the test above: every line of an excerpt counts."""
    lines = printed(folder, block)
    for i, line in enumerate(block.lines):
        if line.strip() != "...":
            edited = [*block.lines[:i], line + "0", *block.lines[i + 1 :]]
            assert fault(Block(block.mark, block.language, edited, block.number), lines) is not None


def test_every_listing_is_an_excerpt():
    listings = [b for b in BLOCKS if b.language in ("mlir", "systemverilog")]
    assert len(listings) >= 12
    assert [b.number for b in listings if not b.source] == []


def test_python_runs(folder):
    (code,) = run_blocks("python")
    run([sys.executable, "-c", code], folder)


@pytest.mark.parametrize("lines", (["a", "c"], ["b", "a"], ["a", "...", "a"], ["c", "...", "b"], ["x...z"]))
def test_order_and_adjacency_count(lines):
    assert fault(Block("excerpt: f", "text", lines, 1), ["a", "b", "c"]) is not None


@pytest.mark.parametrize("lines", (["a", "b"], ["a", "...", "b and d"], ["...", "b and d"], ["b", "b...d"]))
def test_elisions(lines):
    assert fault(Block("excerpt: f", "text", lines, 1), ["a", "b", "b and d"]) is None


def test_every_pass_is_explained():
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert [name for name in pass_names() if f"`{name}`" not in text] == []


def test_named_tables_exist():
    named = set(re.findall(r"`([A-Z][A-Z_]{3,})`", ARCHITECTURE.read_text(encoding="utf-8")))
    sources = [f.read_text(encoding="utf-8") for d in ("dialect", "passes", "python") for f in (ROOT / d).rglob("*.py")]
    assert {"ADJOINTS", "KERNELS", "LOWERINGS"} <= named
    assert [n for n in named if not any(re.search(rf"^{n}\b", s, re.MULTILINE) for s in sources)] == []


@pytest.mark.parametrize("name", ("docs/architecture.md", "CONTRIBUTING.md"))
def test_named_files_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    roots = r"(?:dialect|passes|python|tools|test|docs|examples)"
    named = set(re.findall(rf"`({roots}/[\w./-]*)`", text))
    assert len(named) >= 10
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
