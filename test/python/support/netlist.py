"""Questions that Yosys answers about the netlist of SystemVerilog, hierarchy flattened, before anything is mapped."""

import re
import tempfile
from pathlib import Path

from gradcam.synth.tools import run_logged, yosys

#: A flip-flop that only the clock moves. Whatever else has an output counts as logic, so that latches, asynchronous
#: resets and memories that are read without a clock are no end of a path.
REGISTER = "$dff"


def select(folder: Path, top: str, selection: str) -> set[str]:
    """The objects of `top` that a selection of Yosys (`help select`) has, in the RTL of an output folder."""
    sources = " ".join(sorted(str(path.relative_to(folder)) for path in (folder / "rtl").glob("*.sv")))
    steps = [f"read_verilog -sv {sources}", f"hierarchy -check -top {top}", "proc", "flatten", "opt_clean"]
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "yosys.log"
        run_logged(yosys(), ["-p", "; ".join([*steps, f"select -list {selection}"])], folder, log, lambda _: None)
        return set(re.findall(rf"^{top}/(\S+)$", log.read_text(), re.MULTILINE))


def passed_through(folder: Path, top: str) -> set[str]:
    """The outputs to which a path leads from an input without a register in it."""
    return select(folder, top, f"i:* %co*:-{REGISTER} o:* %i")


def from_logic(folder: Path, top: str) -> set[str]:
    """The outputs of which a bit comes from something else than a register or a constant."""
    return select(folder, top, f"t:* t:{REGISTER} %d %co1 i:* %u %a o:* %i")
