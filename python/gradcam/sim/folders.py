"""Writing a folder whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradcam.errors import GradcamError


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of `target` when the block ends without an error.

    The new folder is made beside `target`, so that the last step is a rename. A folder that stood there is removed.

    Raises:
        GradcamError: the folder cannot be written.
    """
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise GradcamError(f"cannot write {target}: {error.strerror}") from error
    new, old = work / "new", work / "old"
    try:
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as error:
        raise GradcamError(f"cannot write {target}: {error.strerror}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
