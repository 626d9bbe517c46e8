"""vivado.tcl and gradcam_core.xdc: synthesis, placement and routing of the core in Vivado, without a project."""

from __future__ import annotations

from gradcam.package.fusesoc import PART
from gradcam.package.sources import memory_files, period, rtl_files
from gradcam.schema.program import Program

#: The part of the script after the lists of files.
_STEPS = """\
proc report {stage} {
    global out
    report_utilization -file [file join $out $stage.utilization.rpt]
    report_timing_summary -file [file join $out $stage.timing.rpt]
}

file mkdir $out
read_verilog -sv $sources
if {[llength $memories]} { read_mem $memories }
read_xdc $top.xdc
# A core inside a design: its ports are no pins.
synth_design -top $top -part $part -mode out_of_context
report synth
write_checkpoint -force [file join $out synth.dcp]
opt_design
place_design
phys_opt_design
route_design
report route
write_checkpoint -force [file join $out $top.dcp]
"""


def constraints(program: Program) -> str:
    """The text of the constraints: the clock, in ns."""
    name, time = program.core.top, period(program)
    return (
        f"# The clock that {name} is to reach: {1000 / time:g} MHz.\n"
        f"create_clock -name aclk -period {time:.3f} [get_ports aclk]\n"
    )


def script(program: Program) -> str:
    """The text of the script; it takes the part and the folder for its results as arguments."""
    top = program.core.top
    return (
        f"# Builds {top} out of context: vivado -mode batch -source vivado.tcl -tclargs [PART [FOLDER]]\n"
        f"# Default: {PART} and the folder vivado beside this file. The clock is in {top}.xdc.\n"
        "if {$argc > 2} { error {usage: vivado -mode batch -source vivado.tcl -tclargs [PART [FOLDER]]} }\n"
        f"set part [expr {{$argc > 0 ? [lindex $argv 0] : {{{PART}}}}}]\n"
        "set out [file normalize [expr {$argc > 1 ? [lindex $argv 1] : "
        "[file join [file dirname [info script]] vivado]}]]\n"
        "# The RTL names its memory images from here on.\n"
        "cd [file dirname [file normalize [info script]]]\n"
        f"set top {top}\n"
        f"{_list('sources', rtl_files(program))}"
        f"{_list('memories', memory_files(program))}"
        f"\n{_STEPS}"
    )


def _list(name: str, files: list[str]) -> str:
    return f"set {name} {{\n" + "".join(f"    {file}\n" for file in files) + "}\n"
