"""What the project says of itself to other tools: citation, changelog, hooks, packages."""

import tomllib

import pytest
import yaml
from documents import Document, run
from folders import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def faults(cited):
    """What the schema of the Citation File Format (1.2.0) requires and `cited` does not have, and wrong facts."""
    expected = {"cff-version": "1.2.0", "title": PROJECT["name"], "version": PROJECT["version"], "type": "software"}
    found = [key for key, value in (expected | {"license": PROJECT["license"]}).items() if cited.get(key) != value]
    found += [key for key in ("message", "authors") if not cited.get(key)]
    names = {"name", "family-names", "given-names", "alias"}
    works = [cited, *cited.get("references", ())]
    found += ["author" for work in works for author in work.get("authors", [{}]) if not names & set(author)]
    found += ["reference" for work in works[1:] if not {"type", "title", "authors"} <= set(work)]
    return found


def test_the_citation_is_one_of_this_version():
    assert faults(citation()) == []


@pytest.mark.parametrize(
    "change", [{"version": "9"}, {"authors": []}, {"license": "MIT"}, {"references": [{"title": "x"}]}, {"message": ""}]
)
def test_a_wrong_citation_is_found(change):
    assert faults(citation() | change) != []


def test_the_changelog_has_this_version():
    assert PROJECT["version"] in Document("CHANGELOG.md").text


def test_the_hooks_can_be_read_and_are_tools_of_the_test_extra():
    run(["pre-commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")], ROOT)
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert local["repo"] == "local"
    tools = {hook["entry"].split()[0] for hook in local["hooks"]}
    assert tools == {"ruff", "lint-imports"}
    assert all(hook["language"] == "system" for hook in local["hooks"])
