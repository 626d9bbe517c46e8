"""docs/compiling.md is true: its commands run, and its tables of options and files are those of the tools."""

import json

import pytest
from doc_excerpts import fault
from documents import Document

from gradcam.dialect.methods import METHODS

COMPILING = Document("docs/compiling.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands of the document wrote."""
    return COMPILING.run_commands(tmp_path_factory.mktemp("compiling"))


def test_the_schedule_by_hand_is_the_one_that_was_compiled(folder):
    """The replayed schedule is compared by the commands themselves."""

    def loops(name):
        nests = json.loads((folder / "build" / name / "schedule.json").read_text())["nests"]
        return nests["block.relu"]["loops"]

    assert loops("by_hand") == ["y/2", "oc", "x", "y%2", "kx", "ky", "ic"] != loops("chosen")


def test_every_method_is_named():
    assert [name for name in METHODS if f"`{name}`" not in COMPILING.text] == []


@pytest.mark.parametrize("block", COMPILING.excerpts, ids=lambda block: block.source)
def test_excerpts_are_what_the_commands_write(block, folder):
    assert fault(block, COMPILING.printed(folder, block)) is None
    assert None not in COMPILING.faults_of_edits(folder, block)
