"""A signal ends a command with 128 + its number, stops its child processes, and leaves nothing half-made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from sim_design import random_images, random_weights, write_design

from gradcam import interrupts
from gradcam.command import run
from gradcam.errors import GradcamError
from gradcam.files import replace_folder, write_output

ROOT = Path(__file__).parents[2]
SLEEPS = ["sh", "-c", "sleep 60 & sleep 60"]  # a child that starts another one


@pytest.fixture(autouse=True)
def no_signal_is_ignored() -> Iterator[None]:
    """The tests hear signals that whoever started them ignores, such as nohup or a shell in the background."""
    ignored = [number for number in interrupts.SIGNALS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def no_child_stays() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    groups = os.getpgrp()
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    assert not left and groups == os.getpgrp()


def soon(number: int) -> threading.Timer:
    """Sends this process a signal when it waits for its child."""
    timer = threading.Timer(0.3, os.kill, (os.getpid(), number))
    timer.start()
    return timer


def group_is_gone(group: int) -> bool:
    def alive(process: psutil.Process) -> bool:
        with suppress(psutil.Error, ProcessLookupError):
            return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
        return False

    for _ in range(100):
        if not any(map(alive, psutil.process_iter())):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_is_one_line_and_an_exit_code(name: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    number = getattr(signal, name)
    handler = signal.getsignal(number)
    assert run("tool", lambda: signal.raise_signal(number)) == code
    assert capsys.readouterr().err == f"tool: error: interrupted by {name}\n"
    assert signal.getsignal(number) is handler
    assert run("tool", lambda: None) == 0


def test_an_ignored_signal_stays_ignored() -> None:
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("tool", lambda: signal.raise_signal(signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, handler)


def test_a_signal_while_a_folder_is_filled_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"

    def write() -> None:
        with replace_folder(target) as folder:
            (folder / "new").touch()
            signal.raise_signal(signal.SIGTERM)

    assert run("tool", write) == 143
    assert list(tmp_path.iterdir()) == []
    target.mkdir(parents=True)
    (target / "old").touch()
    assert run("tool", write) == 143
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "old"]


@pytest.mark.parametrize("name", ["rename", "rmdir"])
def test_a_signal_while_a_folder_is_exchanged_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    target = tmp_path / "out"
    target.mkdir()
    original = getattr(os, name)

    def signalled(*arguments: object, **options: object) -> object:
        signal.raise_signal(signal.SIGTERM)
        return original(*arguments, **options)

    def write() -> None:
        with replace_folder(target) as folder:
            (folder / "new").touch()
            monkeypatch.setattr(os, name, signalled)

    assert run("tool", write) == 143
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "out"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").touch()
    rename = Path.rename

    def failing(path: Path, to: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(GradcamError, match="No space left on device"), replace_folder(target):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "out"]


def test_a_signal_while_a_file_is_written_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = Path.write_bytes

    def signalled(path: Path, data: bytes) -> int:
        signal.raise_signal(signal.SIGTERM)
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", signalled)
    assert run("tool", lambda: write_output(str(tmp_path / "out"), [b"all"])) == 143
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"all"]


def test_a_signal_stops_a_child_and_what_it_started() -> None:
    groups = []

    def wait() -> None:
        with interrupts.running(SLEEPS) as child:
            groups.append(child.pid)
            soon(signal.SIGTERM)
            child.wait()

    assert run("tool", wait) == 143
    assert group_is_gone(groups[0])


def test_an_error_stops_a_child() -> None:
    with pytest.raises(ValueError), interrupts.running(SLEEPS) as child:
        raise ValueError
    assert group_is_gone(child.pid)


def test_a_child_that_hears_no_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "GRACE", 0.1)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", deaf]

    def wait() -> None:
        with interrupts.running(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            signal.raise_signal(signal.SIGTERM)

    assert run("tool", wait) == 143


def test_a_signal_stops_the_children_of_threads() -> None:
    def attempts() -> None:
        soon(signal.SIGTERM)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: interrupts.run(SLEEPS), range(6)))

    start = time.monotonic()
    assert run("tool", attempts) == 143
    assert time.monotonic() - start < 30  # those that wait for their turn are not started


def test_further_signals_do_not_disturb_the_cleaning(tmp_path: Path) -> None:
    done = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    assert run("tool", work) == 143
    assert done == [True]


def terminate(tool: str, *options: str | Path, when: Callable[[psutil.Process], bool], temporary: Path) -> list[str]:
    """Sends a tool SIGTERM as soon as `when` holds; it and all its children end. Returns the lines of stderr."""
    command = [sys.executable, "-m", f"gradcam.tools.{tool}", *map(str, options)]
    environment = os.environ | {"TMPDIR": str(temporary), "CCACHE_DISABLE": "1"}  # so that compilers run
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        family = psutil.Process(process.pid)
        while not when(family):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        children = family.children(recursive=True)
        process.terminate()
        lines = process.stderr.read().splitlines()
    assert process.returncode == 143
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert not list(temporary.glob("gradcam*"))
    return lines


def test_sigterm_during_a_compile(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    lines = terminate(
        *("gradcam_compile", "examples.walkthrough:network", "--target-layer", "block", "--pe", "4x4"),
        *("-o", tmp_path / "new" / "out"),
        when=lambda _: any(tmp_path.glob("new/.out.*/new/ir/quantized.mlirbc")),
        temporary=temporary,
    )
    stages = ["import", "simplified", "calibrate", "quantized"]
    assert lines[:4] == [f"gradcam-compile: {stage}" for stage in stages]
    assert lines[-1] == "gradcam-compile: error: interrupted by SIGTERM"
    assert list(tmp_path.iterdir()) == [temporary]


def runs(program: str, family: psutil.Process) -> bool:
    """Whether a descendant runs a program; those that end while they are asked do not."""
    for child in family.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() == program:
                return True
    return False


def test_sigterm_while_a_simulator_is_built(tmp_path: Path) -> None:
    design = write_design(tmp_path / "design", random_weights())
    np.save(tmp_path / "image.npy", random_images(1)[0])
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    before = sorted(tmp_path.rglob("*"))
    lines = terminate(
        *("gradcam_sim", design, "--input", tmp_path / "image.npy", "-o", tmp_path / "out"),
        when=lambda family: runs("cc1plus", family),
        temporary=temporary,
    )
    assert lines == ["gradcam-sim: build the simulator", "gradcam-sim: error: interrupted by SIGTERM"]
    assert sorted(tmp_path.rglob("*")) == before
