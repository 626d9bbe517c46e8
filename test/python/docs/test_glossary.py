"""The glossary of docs/architecture.md names code that exists, and explains every term in one or two sentences."""

import ast
import re

import pytest
from folders import ROOT

from gradcam.passes.infra.registry import pass_names

TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("\n## Glossary\n")[2].partition("\n## ")[0]
#: Words that the documents used before the glossary's; RTL names keep some of them.
OLD = (r"tapes?", r"odometers?", r"hops?", r"(?:a|the|one|each|next) turn")


def rows(header):
    """The cells of the table under `header`, row by row."""
    body = SECTION.partition(f"\n{header}\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()[1:]]


TERMS = rows("| term | meaning | where in code |")
RTL = rows("| RTL name | term |")


def quoted(text):
    return re.findall(r"`([^`]+)`", text)


def assigned(statements):
    """The names that statements define: functions, classes, variables and annotated fields."""
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))


def definitions():
    """Every name on the top level of a file of the package, and `Class.member` of its classes."""
    found = set()
    for folder in ("dialect", "passes", "python"):
        for file in (ROOT / folder).rglob("*.py"):
            body = ast.parse(file.read_text(encoding="utf-8")).body
            found |= set(assigned(body))
            classes = [node for node in body if isinstance(node, ast.ClassDef)]
            found |= {f"{node.name}.{name}" for node in classes for name in assigned(node.body)}
    return found


def missing(names):
    known = definitions() | set(pass_names())
    return [name for name in names if name not in known]


def test_every_term_names_code_that_exists():
    assert len(TERMS) > 30 and all(len(row) == 3 and quoted(row[2]) for row in TERMS)
    assert missing([name for row in TERMS for name in quoted(row[2])]) == []


@pytest.mark.parametrize("name", ["Tape", "Engine.rows", "Nest.tape", "gradcam-stream-tape", "ast.parse"])
def test_a_name_that_does_not_exist_is_found(name):
    assert missing([name, "Nest"]) == [name]


@pytest.mark.parametrize("row", TERMS, ids=lambda row: row[0])
def test_a_meaning_is_one_or_two_sentences(row):
    _, meaning, _ = row
    assert meaning[0].isupper() or meaning.startswith("`")
    assert meaning.endswith(".") and len(re.findall(r"[.] [A-Z]", meaning)) <= 1


def test_rtl_names_are_those_of_the_builders():
    sources = "\n".join(f.read_text(encoding="utf-8") for f in (ROOT / "passes" / "hw").glob("*.py"))
    named = [name for row in RTL for name in quoted(" ".join(row))]
    assert len(named) >= 6 and [name for name in named if f'"{name}"' not in sources] == []


@pytest.mark.parametrize("name", ["architecture.md", "guide.md"])
def test_documents_use_the_terms(name):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$|`[^`]+`", "", text, flags=re.MULTILINE | re.DOTALL)
    assert [word for word in OLD if re.search(rf"\b{word}\b", text, re.IGNORECASE)] == []
