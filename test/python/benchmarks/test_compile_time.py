"""benchmarks/compile_time.py: its medians, its verdict, and the order of its runs. Nothing is timed here."""

import sys

import compile_time as benchmark
import pytest

from gradcam.command import run
from gradcam.errors import GradcamError

CASE = benchmark.Case("a case", 0.5, lambda python, work: 1.0)


def test_medians_and_their_ratio():
    figure = benchmark.Times(CASE, [9.0, 1.0, 2.0], [4.0, 100.0, 0.0]).figure
    assert (figure.asked, figure.measured, figure.ok) == ("<= 0.5", "2.00 s of 4.00 s, 0.500", True)
    assert not benchmark.Times(CASE, [9.0, 1.0, 2.01], [4.0, 100.0, 0.0]).figure.ok


def test_a_missed_target_is_an_error(capsys):
    good, bad = benchmark.Times(CASE, [1.0], [2.0]), benchmark.Times(CASE, [1.1], [2.0])
    assert run("benchmark", lambda: benchmark.report([good])) == 0
    assert run("benchmark", lambda: benchmark.report([good, bad])) == 1
    printed = capsys.readouterr()
    assert "1.10 s of 2.00 s, 0.550 | NO" in printed.out
    assert printed.err == "benchmark: error: takes too much of the other build's time: a case\n"


def test_both_builds_run_in_turn(tmp_path):
    seen = []

    def seconds(python, work):
        assert not list(work.iterdir())
        seen.append(python)
        return float(len(seen))

    (times,) = benchmark.measure([benchmark.Case("a case", 1.0, seconds)], "other", 2, tmp_path)
    assert seen == [sys.executable, "other"] * 2
    assert (times.here, times.other) == ([1.0, 3.0], [2.0, 4.0])


def test_another_build_that_cannot_run(tmp_path):
    with pytest.raises(GradcamError, match="cannot run /nowhere/python"):
        benchmark.compiled("/nowhere/python", benchmark.TINYML, tmp_path / "design")
