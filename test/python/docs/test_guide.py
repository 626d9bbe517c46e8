"""docs/guide.md is true: its commands run, its tables say what the core has, its diagrams are what a simulation did."""

import re
import subprocess

import pytest
import waves
from documents import Document
from folders import ROOT

from gradcam.core.driver import Transport
from gradcam.core.register_map import register_map
from gradcam.design import Design
from gradcam.package.software import register_document

DOCS = ROOT / "docs"
GUIDE = Document("docs/guide.md")
TEXT = GUIDE.text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The core that the commands of the document compiled."""
    work = GUIDE.run_commands(tmp_path_factory.mktemp("guide"))
    assert list((work / "build" / "synth").glob("*/synth/*.tcl"))
    return work / "build" / "core"


@pytest.fixture(scope="module")
def run():
    return waves.simulate()


def section(title):
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(text):
    """The rows of the table in a section, as lists of cells."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_ports(folder):
    said = {(name, int(bits)) for names, bits, _ in table(section("Ports")) for name in re.findall(r"`(.+?)`", names)}
    assert said == {(port.name, port.bits) for port in Design.load(folder).program.core.ports}


def test_files(folder):
    (text,) = re.findall(r"\| file \| for \|\n.*?\n\n", TEXT, re.DOTALL)
    names = [name for cell, _ in table(text) for name in re.findall(r"`(.+?)`", cell)]
    assert len(names) >= 11 and all(list(folder.glob(name)) for name in names)


def test_result(folder):
    fields = Design.load(folder).program.fields
    assert list(fields) == [re.findall(r"`(\w+)`", cell)[0] for _, cell, _ in table(section("Packets"))]


def test_errors_and_registers_are_the_cores():
    (error,) = (r for r in register_map() if r.name == "ERROR")
    assert [cell.strip("`") for cell, *_ in table(section("Errors"))] == [f.name for f in error.fields]
    fields = {r.name: {f.name for f in r.fields} for r in register_map()}
    named = re.findall(r"\b([A-Z][A-Z_]{3,})\.(\w+)", TEXT)
    assert len(named) >= 4 and all(field in fields[register] for register, field in named)
    (program,) = (f for r in register_map() if r.name == "ID" for f in r.fields)
    assert f"ID is `{program.reset:#010X}`".replace("0X", "0x") in TEXT


def test_registers_are_documented_as_they_are():
    text = (DOCS / "registers.md").read_text(encoding="utf-8")
    assert text == register_document(), "write it again: gradcam.package.software.register_document"


def test_c(folder, tmp_path):
    (code,) = GUIDE.marked("compile", "c")

    def compiled(text):
        (tmp_path / "guide.c").write_text(text + "\n")
        command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{folder}", "guide.c"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = compiled(code)
    assert done.returncode == 0, done.stderr
    assert compiled(code.replace("RESULT_WORDS", "RESULT_BEATS")).returncode != 0


def test_a_transport_has_five_methods():
    assert len([name for name in vars(Transport) if not name.startswith("_")]) == 5


def test_diagrams_show_what_a_simulation_did(run):
    found = waves.diagrams(run)
    assert {path.stem for path in (DOCS / "waves").glob("*.json")} == set(found)
    for name, wave in found.items():
        assert f"waves/{name}.svg" in TEXT
        hint = f"{name} is another now: run python docs/waves.py"
        assert (DOCS / "waves" / f"{name}.json").read_text(encoding="utf-8") == waves.text_of(wave), hint
        assert (DOCS / "waves" / f"{name}.svg").read_text(encoding="utf-8") == waves.drawn(wave), hint


def test_another_run_would_have_other_diagrams(run):
    """The negative of the test above: a beat a cycle later shows."""
    later = {name: [values[0], *values[:-1]] for name, values in run.images.items() if name.startswith("m_axis")}
    changed = waves.Run(run.access, run.images | later, run.program)
    found, other = waves.diagrams(run), waves.diagrams(changed)
    assert {name for name in found if found[name] != other[name]} >= {"result"}
    assert found["weights"] == other["weights"]
