#!/usr/bin/env bash
# torch-mlir 20261001 (MLIR's Python bindings): an op of a dialect that is defined in Python makes the bindings look for
# an importable module named after the dialect. When there is none, they look again at every single op: 10 failed
# imports for 10 ops, 1000 for 1000. Where any search prefix has such a module, even an empty one, they look once.
# A guess would be one look per dialect. A profile shows the time in importlib, far from the walk that causes it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet torch-mlir==20261001 numpy==2.4.6
cat > "$work/look.py" <<'PYTHON'
import sys
import types
from importlib.abc import MetaPathFinder

from torch_mlir import ir
from torch_mlir.dialects import ext
from torch_mlir.dialects._ods_common import _cext


class Toy(ext.Dialect, name="toy"):
    pass


class NopOp(Toy.Operation, name="nop"):
    pass


class Count(MetaPathFinder):
    asked = 0

    def find_spec(self, name, path, target=None):
        Count.asked += name.endswith(".toy")


def lookups(ops):
    Count.asked = 0
    with ir.Context():
        Toy.load()
        module = ir.Module.parse("\n".join(['"toy.nop"() : () -> ()'] * ops))
        assert all(isinstance(op, NopOp) for op in module.body.operations)
    return Count.asked


sys.meta_path.insert(0, Count())
without = [lookups(10), lookups(1000)]
sys.modules["somewhere"] = types.ModuleType("somewhere")
sys.modules["somewhere"].__path__ = []
sys.modules["somewhere.toy"] = types.ModuleType("somewhere.toy")
_cext.globals.append_dialect_search_prefix("somewhere")
found = [lookups(10), lookups(1000)]
print(f"imports tried for 10 and 1000 ops: {without} without a module, {found} with an empty one")
assert without == [10, 1000] and max(found) <= 1, "the behaviour has changed"
PYTHON
"$work/venv/bin/python" "$work/look.py"
