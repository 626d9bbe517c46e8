#!/usr/bin/env bash
# pycde 0.12.1 (CIRCT): the export of SystemVerilog renames ports and wires that are called as a keyword, such as `reg`
# and `logic`, but 26 of the 248 keywords of IEEE 1800-2017 stay as they are, and the module is a syntax error. A guess
# would be that all keywords are on its list. Among them are names that a design may well have: global, let, soft,
# strong, until, weak.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet pycde==0.12.1 pyslang==12.1.0 numpy==2.4.6
cat > "$work/words.py" <<'PYTHON'
import io

from pycde import circt
from pycde.circt import ir
from pyslang.syntax import SyntaxTree

RENAMED = "alias assert before bit checker context final logic matches property reg solve tagged unique wait".split()
KEPT = """accept_on endchecker eventually global implements implies let nettype nexttime reject_on restrict s_always
s_eventually s_nexttime s_until s_until_with soft strong sync_accept_on sync_reject_on unique0 until until_with untyped
uwire weak""".split()


def exported(name):
    with ir.Context() as context:
        circt.register_dialects(context)
        module = ir.Module.parse(f"hw.module @top(in %{name} : i8, out q : i8) {{ hw.output %{name} : i8 }}")
        text = io.StringIO()
        circt.export_verilog(module, text)
        return text.getvalue()


def errors(name):
    return [d for d in SyntaxTree.fromText(exported(name)).diagnostics if d.isError()]


assert all(errors(name) == [] and f" {name}_0," in exported(name) for name in RENAMED), "the behaviour has changed"
broken = [name for name in KEPT if errors(name)]
print(f"{len(RENAMED)} keywords are renamed; {len(broken)} are kept: {' '.join(broken)}")
print(next(line for line in exported("soft").splitlines() if "input" in line).partition("//")[0])
assert broken == KEPT, "the behaviour has changed"
PYTHON
"$work/venv/bin/python" "$work/words.py"
