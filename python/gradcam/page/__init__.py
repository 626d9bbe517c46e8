"""`report.html`: an output folder of a compile, or of a run, as one page that needs no network.

A page shows what the folder's files hold and nothing else, so that it can be made again from them.
"""

from __future__ import annotations

from pathlib import Path

from gradcam.errors import GradcamError
from gradcam.files import check_folder, write_output
from gradcam.folder import PAGE
from gradcam.page.design import design_page
from gradcam.page.run import run_page


def write_page(folder: Path) -> None:
    """Writes `report.html` into an output folder, whole or not at all.

    Raises:
        GradcamError: there is no such folder, it is no output folder, or one of its files is malformed or of another
            version.
    """
    write_output(str(folder / PAGE), [page(folder).encode()])


def page(folder: Path) -> str:
    """The page of an output folder as HTML; raises as `write_page`."""
    check_folder(folder)
    if (folder / "program.json").exists():
        return design_page(folder)
    if (folder / "logits.npy").exists():
        return run_page(folder)
    reason = "it has neither program.json nor logits.npy"
    raise GradcamError(f"{folder} is the output of neither gradcam-compile nor gradcam-sim: {reason}")
