"""Progress of long work: a line per stage where stderr is no terminal."""

from __future__ import annotations

import pytest

from gradcam.progress import stages


def test_a_stage_is_a_line_and_its_steps_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    with stages("tool") as say:
        for stage in ("import", "map: parse", "map: cells of a: b", "map", "route: 1", "map: again"):
            say(stage)
    printed = capsys.readouterr()
    assert printed.err == "tool: import\ntool: map\ntool: route\ntool: map\n"
    assert not printed.out
