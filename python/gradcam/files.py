"""Writing files and folders whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from gradcam.errors import GradcamError


def write_output(name: str, outputs: Sequence[bytes]) -> None:
    """Writes modules, `// -----` between them, to the file `name`, whole or not at all, or to stdout ("-").

    Raises:
        GradcamError: the file cannot be written.
        BrokenPipeError: nobody reads stdout any more.
    """
    data = b"// -----\n".join(outputs)
    if name == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    target = Path(name).resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)  # a device or a pipe: there is nothing to rename over
        else:
            _replace_file(target, data)
    except OSError as error:
        raise GradcamError(f"cannot write {name}: {error.strerror}") from error


def _replace_file(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of `target` when the block ends without an error.

    The new folder is made beside `target`, so that the last step is a rename. A folder that stood there is removed.
    Missing parent folders are made; after an error they are gone again.

    Raises:
        GradcamError: the folder cannot be written.
    """
    made = [parent for parent in target.parents if not parent.exists()]
    work = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as error:
        raise GradcamError(f"cannot write {target}: {error.strerror}") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        if not target.exists():
            _remove_empty(made)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Removes folders, innermost first, up to one that is missing or that somebody else filled."""
    for folder in folders:
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


def check_replaceable(target: Path, ours: Collection[str], writer: str) -> None:
    """Refuses to replace a file, or a folder with files that `writer` does not write.

    `ours` are the names that `writer` writes; a name may be a pattern, such as heatmap*.npy.

    Raises:
        GradcamError: the target must not be replaced.
    """
    if not target.exists():
        return
    names = [p.name for p in target.iterdir()] if target.is_dir() else [target.name]
    others = sorted(n for n in names if not target.is_dir() or not any(fnmatchcase(n, own) for own in ours))
    if others:
        raise GradcamError(f"{target} exists and holds '{others[0]}', which {writer} did not write")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        GradcamError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise GradcamError(f"cannot read {path}: {error.strerror}") from error
