"""What all command-line tools share: their parser, and the lines and exit codes that errors end with."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from gradcam.command import Parser, natural_argument, run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size=3", ""], "argument '' has no text"),
        (["--size", ""], "argument '' has no text"),
        (["--size="], "argument --size has no text"),
        (["--size=--"], "argument --size has no text"),
        (["--size=x\ny"], "argument --size: invalid int value: 'x\\ny'"),
        (["--sizes=3"], "unrecognized arguments: --sizes=3; did you mean '--size'?"),
        (["--sze", "3"], "unrecognized arguments: --sze; did you mean '--size'?"),
        (["--x"], "unrecognized arguments: --x"),
        (["--size=3", "--size", "4"], "argument --size: given more than once"),
        (["--si", "3", "--size=3"], "argument --size: given more than once"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="tool")
    parser.add_argument("--size", type=int)
    parser.add_argument("rest", nargs="*")
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(arguments)
    assert (caught.value.code, capsys.readouterr().err) == (2, f"tool: error: {message}\n")
    assert parser.parse_args(["--size=3", "--", "a=", "="]).rest == ["a=", "="]
    assert parser.parse_args(["--size=3", "--", "--sze"]).rest == ["--sze"]


def test_values_may_begin_with_a_minus() -> None:
    parser = Parser(prog="tool")
    parser.add_argument("--mean")
    assert parser.parse_args(["--mean", "-0.5,-.1,2"]).mean == "-0.5,-.1,2"
    assert parser.parse_args(["--mean", "-.5"]).mean == "-.5"


def test_an_option_that_adds_up_may_repeat() -> None:
    parser = Parser(prog="tool")
    parser.add_argument_group("some").add_argument("--layer", action="append")
    parser.add_argument("--force", action="store_true")
    parsed = parser.parse_args(["--layer", "a", "--force", "--layer=b", "--force"])
    assert parsed.layer == ["a", "b"] and parsed.force


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["examples/explain.mlir", "--canonicalize"], ["--list-passes"], ["--version"]])
def test_a_stdout_that_is_full_is_named(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "gradcam.tools.gradcam_opt", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr == "gradcam-opt: error: cannot write to stdout: No space left on device\n"


def test_a_keyboard_interrupt_of_a_users_code_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert run("tool", interrupt) == 130
    assert capsys.readouterr().err == "tool: error: interrupted by a KeyboardInterrupt\n"


def test_a_natural_argument_is_no_negative_number(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="tool")
    parser.add_argument("--limit", type=natural_argument)
    assert [parser.parse_args([f"--limit={text}"]).limit for text in ("0", "64")] == [0, 64]
    for text in ("-1", "x", "1.5"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--limit={text}"])
        message = f"tool: error: argument --limit: '{text}' is no integer of at least 0\n"
        assert capsys.readouterr().err == message


def test_a_warning_of_python_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def warn() -> None:
        print(warnings.formatwarning("two\nlines", UserWarning, "model.py", 3), end="", file=sys.stderr)

    assert run("tool", warn) == 0
    assert capsys.readouterr().err == "tool: WARNING: model.py:3: UserWarning: two lines\n"
    assert warnings.formatwarning("x", UserWarning, "model.py", 3).startswith("model.py:3")  # as before


def test_an_error_of_the_system_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    name = "x" * 300
    assert run("tool", lambda: open(name)) == 1  # type: ignore[arg-type, return-value]  # noqa: SIM115, PTH123
    assert capsys.readouterr().err == f"tool: error: {name}: File name too long\n"
