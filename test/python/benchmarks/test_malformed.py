"""benchmarks/malformed.py: a sample of its cases, and that each of its checks can fail."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import malformed
import mutations
import pytest
from malformed import Case, contents, forked, judge, table

ROOT = Path(__file__).parents[3]


def test_a_sample_of_malformed_inputs_is_refused_or_harmless() -> None:
    command = [sys.executable, "benchmarks/malformed.py", "--count", "100", "--seed", "1000", "--no-build"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| all | 100 |" in done.stdout


def judged(code: int, printed: str, case: Case, folder: Path, new: str = "") -> str:
    """The verdict on a command that exits with `code`, prints on stderr, and makes the file `new` in its folder."""
    (folder / "case").mkdir()
    before = contents(folder / "case")
    if new:
        (folder / "case" / new).touch()
    return judge(case, code << 8, printed, before, contents(folder / "case"), folder / "case")


REFUSED = "gradcam-opt: error: no\n"


@pytest.mark.parametrize(
    ("code", "printed", "new", "fault"),
    [
        (1, REFUSED, "", ""),
        (1, "in.mlir:1:2: error: no\nin.mlir:1:2: note: since\n", "", ""),
        (1, "gradcam-compile: import\ngradcam-compile: error: no\n", "", ""),
        (1, REFUSED, "half", "it leaves half"),
        (1, "", "", "0 error lines"),
        (1, REFUSED * 2, "", "2 error lines"),
        (2, f"usage: gradcam-opt\n{REFUSED}", "", "it prints 'usage: gradcam-opt'"),
        (1, f"{REFUSED}Traceback (most recent call last):\nKeyError: 3\n", "", "a traceback: KeyError: 3"),
        (0, "", "", "exit 0 for a change"),
        (0, REFUSED, "", f"exit 0, with the error {REFUSED.strip()!r}"),
        (malformed.REACHED, "", "", "it starts another program for a change"),
    ],
)
def test_verdicts_on_what_must_be_refused(tmp_path: Path, code: int, printed: str, new: str, fault: str) -> None:
    assert judged(code, printed, Case("gradcam_opt", [], change="a change"), tmp_path, new) == fault


def test_verdicts_on_what_may_be_harmless(tmp_path: Path) -> None:
    def broken(folder: Path) -> str:
        raise ValueError("no oracle")

    for number, (right, fault) in enumerate(
        [(lambda _: "", ""), (lambda _: "2 is not 3", "wrong: 2 is not 3"), (broken, "wrong: ValueError: no oracle")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert judged(0, "", Case("gradcam_opt", [], {}, right), folder) == fault


def test_signals_and_hangs_are_seen(tmp_path: Path) -> None:
    status = forked(lambda: os.kill(os.getpid(), signal.SIGSEGV), tmp_path)
    assert judge(Case("", []), status, "", {}, {}, tmp_path) == "it ends by SIGSEGV"
    status = forked(lambda: time.sleep(60), tmp_path, limit=0.1)
    assert judge(Case("", []), status, "", {}, {}, tmp_path) == "it hangs"


def test_the_table_counts_by_kind() -> None:
    verdicts = [
        malformed.Verdict("a", 0, "refused"),
        malformed.Verdict("a", 1, "fault", "x"),
        malformed.Verdict("b", 0, "harmless"),
    ]
    rows = ["| a | 2 | 1 | 0 | 0 | 1 |", "| b | 1 | 0 | 1 | 0 | 0 |", "| all | 3 | 1 | 1 | 0 | 1 |"]
    assert table(verdicts).splitlines()[2:] == rows


def test_a_seed_makes_the_same_change_again() -> None:
    document = json.dumps({"a": [1, {"b": 2}], "c": "d"}).encode()
    for change in (mutations.mutated_bytes, mutations.mutated_text, mutations.mutated_json):
        made = [change(random.Random(seed), document) for seed in range(40)]
        assert made == [change(random.Random(seed), document) for seed in range(40)]
        assert sum(data != document for data, _ in made) > 30
