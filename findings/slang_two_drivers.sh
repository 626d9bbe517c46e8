#!/usr/bin/env bash
# pyslang 12.1.0: `Compilation.getAllDiagnostics()` does not have all diagnostics. Two `always_comb` blocks, or an
# assignment and a block, that drive one variable are an error by IEEE 1800-2017 (6.5, 9.2.2.2.2), and slang knows it, but
# only as a diagnostic of an `AnalysisManager`, to which the frozen compilation has to be given. A guess would be that a
# design without diagnostics is one without errors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet pyslang==12.1.0
cat > "$work/drivers.py" <<'PYTHON'
from pyslang.analysis import AnalysisManager
from pyslang.ast import Compilation
from pyslang.syntax import SyntaxTree


def diagnostics(body):
    compilation = Compilation()
    compilation.addSyntaxTree(SyntaxTree.fromText(f"module m(input logic a, b, output logic y); {body} endmodule"))
    compiled = [str(d.code) for d in compilation.getAllDiagnostics()]
    compilation.freeze()
    manager = AnalysisManager()
    manager.analyze(compilation)
    return compiled, [str(d.code) for d in manager.getDiagnostics()]


for body in ("assign y = a & b;", "always_comb y = a; always_comb y = b;", "assign y = a; always_comb y = b;"):
    compiled, analyzed = diagnostics(body)
    print(f"{body:38} getAllDiagnostics {compiled}, analysis {analyzed}")
    wrong = body.count("y =") > 1
    assert compiled == [] and len(analyzed) == wrong, "the behaviour has changed"
PYTHON
"$work/venv/bin/python" "$work/drivers.py"
