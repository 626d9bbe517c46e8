"""Input of `gradcam-opt`: reading, and splitting at `// -----`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

from gradcam.errors import GradcamError
from gradcam.passes.infra import contexts

_SPLIT = re.compile(rb"^// -----[ \t]*\r?$", re.MULTILINE)


class Chunk(NamedTuple):
    """A part of the input that is one module.

    Attributes:
        data: text or bytecode; text is padded with empty lines so that its line numbers are those of the file.
        path: the file, if the chunk is all of it.
        name: the file's name in messages.
    """

    data: bytes
    path: Path | None
    name: str

    @property
    def source(self) -> bytes | Path:
        """The source to parse: the file where there is one, so that locations have its name."""
        return self.path or self.data

    @property
    def text(self) -> str:
        """The data as text, for messages and comments."""
        return self.data.decode("utf-8", "replace")


def read_chunks(name: str, split: bool) -> list[Chunk]:
    """Reads the file `name`, "-" for stdin; with `split`, one chunk for each part between `// -----` lines.

    Raises:
        GradcamError: the file cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise GradcamError(f"cannot read {name}: {error.strerror}") from error
    shown = "<stdin>" if name == "-" else name
    if not split or contexts.is_bytecode(data):
        path = Path(name) if name != "-" and Path(name).is_file() else None
        return [Chunk(data, path, shown)]
    chunks, line = [], 0
    for part in _SPLIT.split(data):
        chunks.append(Chunk(b"\n" * line + part, None, shown))
        line += part.count(b"\n")
    return chunks
