"""Names of what a compile makes, and what the name of a design puts in front of them, so that two fit one project."""

# pyright: strict
from __future__ import annotations

import re

from gradcam.errors import GradcamError
from gradcam.reserved import CPP, SYSTEM_VERILOG, VHDL

#: The module that runs the program, and the one around it, which a project instantiates.
TOP, CORE = "gradcam_top", "gradcam_core"

#: The most characters of a name: the longest names of files are made with it.
MOST = 64

#: VHDL takes neither two underscores nor one at the end. Upper case would tell no designs apart: VHDL and some file
#: systems do not see it, and macros of C have nothing else.
_NAME = re.compile(rf"(?=.{{1,{MOST}}}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*")


def check_name(name: str) -> None:
    """Refuses a name of a design that is no identifier in SystemVerilog, VHDL, C and Tcl.

    Raises:
        GradcamError: it is none, or too long, or reserved in one of these languages.
    """
    if not _NAME.fullmatch(name):
        form = f"a-z, 0-9 and single underscores, a letter first and no underscore last, at most {MOST} characters"
        raise GradcamError(f"the name of a design has {form}; got {name!r}")
    for language, words in (("SystemVerilog", SYSTEM_VERILOG), ("C or C++", CPP), ("VHDL", VHDL)):
        if name in words:
            raise GradcamError(f"a design cannot be called '{name}', which is reserved in {language}")


def prefixed(name: str | None, path: str) -> str:
    """A module or the path of a file as it is called in the design `name`; None: a design without a name.

    The design "left" calls the module "bank0" "left_bank0", and the file "mem/biases.hex" "mem/left_biases.hex".
    """
    folder, slash, last = path.rpartition("/")
    return f"{folder}{slash}{name}_{last}" if name else path


def name_of(core: str) -> str | None:
    """The name of the design whose core is the module `core`; None where it has no name."""
    return core.removesuffix(CORE).removesuffix("_") or None
