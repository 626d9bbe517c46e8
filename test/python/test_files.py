"""Replacing folders: nothing of somebody else is deleted, wherever it lies."""

import json
from pathlib import Path

import pytest

from gradcam.errors import GradcamError
from gradcam.files import check_replaceable, replace_files, replace_folder
from gradcam.output import check_target

OURS = ("report.txt", "rtl/top.sv", "synth/*/synth.json")


def files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_a_folder_of_own_files_may_be_replaced(tmp_path):
    check_replaceable(files(tmp_path / "all", "report.txt", "rtl/top.sv", "synth/ecp5/synth.json"), OURS, "x")
    check_replaceable(files(tmp_path / "some", "rtl/top.sv"), OURS, "x")
    check_replaceable(tmp_path / "none", OURS, "x")


@pytest.mark.parametrize("name", ["notes", "rtl/notes", "rtl/top.sv/notes", "synth/notes", "synth/ecp5/a/synth.json"])
def test_a_file_of_somebody_else_is_kept_at_every_depth(tmp_path, name):
    files(tmp_path / "folder", "report.txt", name)
    with pytest.raises(GradcamError, match=r"^.*/folder exists and holds '.*', which x did not write$"):
        check_replaceable(tmp_path / "folder", OURS, "x")


def test_an_empty_folder_and_a_link_of_somebody_else_are_kept(tmp_path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(GradcamError, match="holds 'letters'"):
        check_replaceable(tmp_path, OURS, "x")
    (tmp_path / "letters").rmdir()
    (tmp_path / "rtl").symlink_to(tmp_path.parent)
    with pytest.raises(GradcamError, match="holds 'rtl'"):
        check_replaceable(tmp_path, OURS, "x")


def test_the_current_folder_and_those_around_it_are_kept(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for name in (".", "..", ""):
        with pytest.raises(GradcamError, match="which holds the current folder; name a folder inside of it"):
            check_replaceable(tmp_path / "inner" / name, OURS, "x")
    check_replaceable(tmp_path / "inner" / "new", OURS, "x")


def test_of_a_link_the_named_folder_is_replaced(tmp_path):
    files(tmp_path / "first", "report.txt")
    (tmp_path / "latest").symlink_to("first")
    with replace_folder(tmp_path / "latest") as work:
        (work / "report.txt").write_text("new")
    assert (tmp_path / "latest").is_symlink() and (tmp_path / "first/report.txt").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest"]


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_files_take_their_places_together(tmp_path):
    names = [str(files(tmp_path, "a") / "a"), str(tmp_path / "b")]
    with replace_files(names) as (a, b):
        a.write_text("new a")
        b.write_text("new b")
        assert (tmp_path / "a").read_text() == "a" and not (tmp_path / "b").exists()
    assert contents(tmp_path) == {"a": "new a", "b": "new b"}
    with replace_files(names) as (a, _):
        a.write_text("alone")
    assert contents(tmp_path) == {"a": "alone"}


@pytest.mark.parametrize("there", [[], ["a"], ["b"], ["a", "b"]])
@pytest.mark.parametrize("failing", ["a", "b", "block"])
def test_of_several_files_all_are_replaced_or_none(tmp_path, monkeypatch, there, failing):
    files(tmp_path, *there)
    rename = Path.rename

    def refused(path, to):
        if path.name == failing and path.parent.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refused)
    with (
        pytest.raises(GradcamError, match=r"^cannot write .*/a: No space left on device$"),
        replace_files([str(tmp_path / "a"), str(tmp_path / "b")]) as work,
    ):
        for path in work:
            path.write_text("new")
            if failing == "block":
                raise OSError(28, "No space left on device")
    assert contents(tmp_path) == {name: name for name in there}


def test_rtl_and_memories_are_those_of_the_program(tmp_path):
    folder = files(tmp_path / "design", "rtl/top.sv", "mem/weights.hex", "ir/01-pass.mlir", "sim/key", "report.txt")
    (folder / "program.json").write_text(json.dumps({"rtl": {"rtl/top.sv": ""}, "memories": {"mem/weights.hex": ""}}))
    check_target(folder, force=True)
    (folder / "rtl" / "board.sv").touch()
    with pytest.raises(GradcamError, match=r"holds 'rtl/board\.sv', which gradcam-compile did not write"):
        check_target(folder, force=True)
    (folder / "program.json").write_text("[]")
    with pytest.raises(GradcamError, match="holds 'mem', which gradcam-compile did not write"):
        check_target(folder, force=True)


def test_no_advice_to_replace_what_is_not_replaced(tmp_path):
    with pytest.raises(GradcamError, match=r"did not write$"):
        check_target(files(tmp_path / "home", "letter"), force=False)
    with pytest.raises(GradcamError, match=r"letter is no folder; name another$"):
        check_target(tmp_path / "home" / "letter", force=False)
