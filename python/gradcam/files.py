"""Writing files and folders whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from gradcam.errors import GradcamError
from gradcam.interrupts import uninterrupted


def write_output(name: str, outputs: Sequence[bytes]) -> None:
    """Writes modules, `// -----` between them, to the file `name`, whole or not at all, or to stdout ("-").

    Raises:
        GradcamError: the file cannot be written.
        BrokenPipeError: nobody reads stdout any more.
    """
    data = b"// -----\n".join(outputs)
    if name == "-":
        with stdout_written():
            sys.stdout.buffer.write(data)
        return
    target = Path(name).resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)  # a device or a pipe: there is nothing to rename over
        else:
            _replace_file(target, data)
    except OSError as error:
        raise GradcamError(f"cannot write {name}: {error.strerror}") from error


@contextmanager
def stdout_written() -> Iterator[None]:
    """Writes what the block prints to stdout at its end at the latest.

    Raises:
        GradcamError: stdout cannot be written, such as on a full disk.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit does not try it again
        raise GradcamError(f"cannot write to stdout: {error.strerror}") from error


def check_folder(folder: Path) -> None:
    """Refuses what is no folder.

    Raises:
        GradcamError: there is nothing of that name, or something else.
    """
    if not folder.is_dir():
        raise GradcamError(f"{'no such' if not folder.exists() else 'this is no'} folder: {folder}")


def check_new_file(name: str, force: bool, mark: bytes) -> None:
    """Refuses a file that cannot be written, or that is there and must not be replaced.

    A device or a pipe is written to and not replaced.

    Args:
        name: the file.
        force: whether a file of its kind may be replaced.
        mark: what a file of its kind has in its first 64 bytes; another one, such as an input, is never replaced.

    Raises:
        GradcamError: `name` is a folder or lies in none, it exists and `force` is false, or it is of another kind.
    """
    target = Path(name)
    if target.is_dir():
        raise GradcamError(f"{name} is a folder; name a file")
    if not target.parent.is_dir():
        raise GradcamError(f"cannot write {name}: there is no folder {target.parent}")
    if not target.is_file():
        return
    if mark not in _head(target):
        raise GradcamError(f"{name} exists and holds something else; choose another file")
    if not force:
        raise GradcamError(f"{name} exists; choose another file, or add --force to replace it")


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(64)
    except OSError as error:
        raise GradcamError(f"cannot read {file}: {error.strerror}") from error


def check_binary_output(name: str, force: bool) -> None:
    """Refuses to write bytes that are no text to a terminal.

    Raises:
        GradcamError: the output `name` is stdout ("-"), which is a terminal, and `force` is false.
    """
    if name == "-" and not force and sys.stdout.isatty():
        raise GradcamError("bytecode is not written to a terminal; name a file with -o, or force it with -f")


def _replace_file(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with uninterrupted():
        try:
            temporary.write_bytes(data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _work_folder(target: Path, name: object, make_parents: bool = False) -> Iterator[Path]:
    """Gives an empty folder beside `target`, so that what is written there can be renamed; it is removed in the end.

    Args:
        target: resolved.
        name: of what is written, for the message.
        make_parents: whether missing folders around it are made.

    Raises:
        GradcamError: it, or something in the block, cannot be written.
    """
    work = None
    try:
        with uninterrupted():
            if make_parents:
                target.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield work
    except OSError as error:
        raise GradcamError(f"cannot write {name}: {error.strerror}") from error
    finally:
        with uninterrupted():
            if work is not None:
                shutil.rmtree(work, ignore_errors=True)


@contextmanager
def replace_files(names: Sequence[str]) -> Iterator[list[Path]]:
    """Gives a path for each of several files of one folder; they take the places of the files when the block ends.

    All do or none. A file whose path nothing was written to is removed. After an error or a signal all is as it was.

    Raises:
        GradcamError: a file cannot be written.
    """
    targets = [Path(name).resolve() for name in names]
    with _work_folder(targets[0], names[0]) as work:
        new, old = work / "new", work / "old"
        for folder in (new, old):
            folder.mkdir()
        yield [new / target.name for target in targets]
        with uninterrupted(), ExitStack() as undone:
            for target in targets:
                _exchange(target, new / target.name, old / target.name)
                undone.callback(_exchange, target, old / target.name, new / target.name)
            undone.pop_all()


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of `target` when the block ends without an error.

    The new folder is made beside `target`, so that the last step is a rename. A folder that stood there is removed; of
    a symbolic link, the folder that it names. Missing parent folders are made. After an error or a signal (see
    `gradcam.interrupts`) all is as it was; a signal during the last step is raised when the new folder is in its place.

    Raises:
        GradcamError: the folder cannot be written.
    """
    target = target.resolve()
    made = [parent for parent in target.parents if not parent.exists()]
    try:
        with _work_folder(target, target, make_parents=True) as work:
            new = work / "new"
            new.mkdir()
            yield new
            with uninterrupted():
                _exchange(target, new, work / "old")
    finally:
        with uninterrupted():
            if not target.exists():
                _remove_empty(made)


def _exchange(target: Path, new: Path, old: Path) -> None:
    """Moves `target`, if it exists, to `old`, and `new`, if it exists, to `target`; both or none."""
    if target.exists():
        target.rename(old)
    try:
        if new.exists():
            new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes folders, innermost first, up to one that is missing or that somebody else filled."""
    for folder in folders:
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def check_replaceable(target: Path, ours: Iterable[str], writer: str) -> None:
    """Refuses to replace what `writer` did not write: a file, or a folder with a file of somebody else anywhere in it.

    `ours` are the files that `writer` writes, relative to the folder, such as rtl/top.sv. A name may be a pattern, such
    as heatmap*.npy.

    Raises:
        GradcamError: the target must not be replaced.
    """
    folder, here = target.resolve(), Path.cwd()
    if folder == here or folder in here.parents:
        raise GradcamError(f"cannot replace {folder}, which holds the current folder; name a folder inside of it")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise GradcamError(f"{target} is no folder; name another")
    if strange := _strange(folder, [name.split("/") for name in ours]):
        raise GradcamError(f"{target} exists and holds '{strange.relative_to(folder)}', which {writer} did not write")


def _strange(folder: Path, ours: Sequence[Sequence[str]]) -> Path | None:
    """The first entry of a folder, or of one inside it, that no path of `ours`, split at its slashes, leads to."""
    for entry in sorted(folder.iterdir()):
        inner = [rest for name, *rest in ours if fnmatchcase(entry.name, name)]
        is_folder = entry.is_dir() and not entry.is_symlink()
        if not any(bool(rest) == is_folder for rest in inner):
            return entry
        if is_folder and (found := _strange(entry, [rest for rest in inner if rest])):
            return found
    return None


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        GradcamError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise GradcamError(f"cannot read {path}: {error.strerror}") from error
