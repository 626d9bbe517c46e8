"""All documents: links and named files exist, passes and options are those of the tools, every listing is checked."""

import re
import runpy
import shlex
import sys

import pytest
from documents import Document
from folders import ROOT

from gradcam.dialect.methods import METHODS
from gradcam.passes.infra import registry
from gradcam.tools import gradcam_compile, gradcam_import, gradcam_opt, gradcam_report, gradcam_sim, gradcam_synth

PATHS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
DOCUMENTS = [Document(str(path.relative_to(ROOT))) for path in sorted(PATHS)]
TOOLS = {
    "gradcam-compile": gradcam_compile,
    "gradcam-import": gradcam_import,
    "gradcam-opt": gradcam_opt,
    "gradcam-sim": gradcam_sim,
    "gradcam-report": gradcam_report,
    "gradcam-synth": gradcam_synth,
}
BENCHMARKS = {path.name for path in (ROOT / "benchmarks").glob("*.py") if "argparse" in path.read_text("utf-8")}


def named(document, pattern):
    return sorted(set(re.findall(pattern, document.text)))


def anchors(document):
    """The headings of a document as links write them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", document.text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document):
    folder, broken = (ROOT / document.name).parent, []
    for target in named(document, r"\]\(([^):]+)\)"):
        path, _, anchor = target.partition("#")
        file = folder / path if path else ROOT / document.name
        if not file.is_file() or (anchor and anchor not in anchors(Document(str(file.resolve().relative_to(ROOT))))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document):
    assert broken_links(document) == []


def test_a_broken_link_is_found():
    document = Document("README.md")
    links = "[a](docs/none.md) [b](docs/guide.md#none) [c](#results)"
    document.__dict__["text"] = f"{links}\n## Results\n"
    assert broken_links(document) == ["docs/guide.md#none", "docs/none.md"]


def test_named_files_exist():
    roots = r"(?:dialect|passes|python|tools|test|docs|examples|benchmarks)"
    files = {(d.name, path) for d in DOCUMENTS for path in named(d, rf"(?:`|python )({roots}/[\w./-]*)")}
    assert len(files) >= 60
    assert sorted(pair for pair in files if not (ROOT / pair[1]).exists()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_named_passes_exist(document):
    others = {*TOOLS, *METHODS, "gradcam-mlir"}
    names = [n for n in named(document, r"(?<![\w/-])(?:gradcam|convert)-[a-z0-9-]+(?![\w.])") if n not in others]
    assert [n for n in names if not registry.is_pass(n) and n not in registry.PIPELINES] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_every_listing_is_an_excerpt(document):
    assert [b.number for b in document.blocks if b.language in ("mlir", "systemverilog") and not b.source] == []


def commands():
    """The command lines of all shell blocks that start a tool or a benchmark, as lists of words."""
    found = []
    for document in DOCUMENTS:
        for block in document.blocks:
            if block.language == "sh":
                lines = [shlex.split(line, comments=True) for line in block.lines]
                found += [words for words in lines if words and (words[0] in TOOLS or words[:1] == ["python"])]
    return found


@pytest.fixture
def help_of(monkeypatch, capsys):
    """The help text of a tool or of a benchmark's file."""

    def text(name):
        monkeypatch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit, match="0"):
            TOOLS[name].main() if name in TOOLS else runpy.run_path(str(ROOT / name), run_name="__main__")
        return capsys.readouterr().out

    return text


def options(words):
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def test_commands_are_those_of_the_tools(help_of):
    checked = 0
    for name, *words in commands():
        script = words[0] if name == "python" else name
        text = help_of(script)
        passes = {f"--{n}" for n in registry.pass_names()} if name == "gradcam-opt" else set()
        assert options(words) - passes <= set(re.findall(r"--[\w-]+", text)), (script, words)
        if name in TOOLS and name != "gradcam-opt":
            parsed = TOOLS[name]._parser().parse_args(words)
            assert all((ROOT / path).exists() for path in getattr(parsed, "input", ()))
        checked += 1
    assert checked >= 12


def test_named_options_exist(help_of):
    """In the text between blocks, too: an option of some tool or benchmark, or of another program."""
    others = {"--workflow", "--preset", "--build", "--target", "--cores-root", "--setup", "--build-root", "--no-deps"}
    others |= {"--check", "--config-settings"}
    programs = [*TOOLS, "tools/train_tinyml.py", "docs/pictures.py", *(f"benchmarks/{name}" for name in BENCHMARKS)]
    known = others.union(*(re.findall(r"--[\w-]+", help_of(name)) for name in programs))
    known |= {f"--{name}" for name in registry.pass_names()}
    text = "\n".join(document.text for document in DOCUMENTS)
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - known) == []
