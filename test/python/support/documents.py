"""A document of the repository: its text, its code blocks, and the commands that it asks its reader to run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from doc_excerpts import Block, blocks, fault, find_source
from folders import BIN, ROOT


@dataclass(frozen=True)
class Document:
    """A Markdown file by its path in the repository; its excerpts name files of `output`, which its commands write."""

    name: str
    output: str = "."

    @cached_property
    def text(self) -> str:
        return (ROOT / self.name).read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        return blocks(self.text)

    @property
    def excerpts(self) -> list[Block]:
        return [b for b in self.blocks if b.source]

    def marked(self, mark: str, language: str) -> list[str]:
        """The blocks with this mark and language, each as a text."""
        return ["\n".join(b.lines) + "\n" for b in self.blocks if b.mark == mark and b.language == language]

    def run_commands(self, work: Path) -> Path:
        """Runs the commands of the document in `work`, which stands for the root of the repository."""
        (work / "examples").symlink_to(ROOT / "examples")
        for commands in self.marked("run", "sh"):
            run(["bash", "-e", "-c", commands], work)
        return work

    def printed(self, work: Path, block: Block) -> list[str]:
        """The lines of the file that an excerpt names: of the repository, or of what the commands wrote."""
        source = ROOT / block.source
        found = source if source.exists() else find_source(work / self.output, block.source)
        return found.read_text(encoding="utf-8").splitlines()

    def faults_of_edits(self, work: Path, block: Block) -> list[str | None]:
        """The fault that is found when a line of an excerpt has one more digit, line by line: None where none is."""
        printed, found = self.printed(work, block), []
        for i, line in enumerate(block.lines):
            if line.strip() != "...":
                edited = [*block.lines[:i], line + "0", *block.lines[i + 1 :]]
                found.append(fault(Block(block.mark, block.language, edited, block.number), printed))
        return found


def run(command: list[str], folder: Path) -> str:
    """Runs a command with the tools of this environment and gives back what it prints."""
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(code: str, folder: Path) -> str:
    """Runs Python in this environment and gives back what it prints."""
    return run([sys.executable, "-c", code], folder)
