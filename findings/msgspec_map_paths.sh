#!/usr/bin/env bash
# msgspec 0.23.0: the path in a validation error names members of structs and indices of arrays, as in
# `$.nests[3].cycles`, but of a map it says only that there is one: `$.banks[...].lanes`, whichever of a thousand entries
# is wrong. A guess would be `$.banks.weights.lanes`. Whoever reports errors of files to people has to find the entry.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet msgspec==0.23.0
cat > "$work/path.py" <<'PYTHON'
import msgspec


class Bank(msgspec.Struct):
    lanes: int


class Program(msgspec.Struct):
    order: list[Bank]
    banks: dict[str, Bank]


def message(text):
    try:
        msgspec.json.decode(text, type=Program)
    except msgspec.ValidationError as error:
        return str(error)
    raise SystemExit("a text was taken for a number")


in_array = message('{"order": [{"lanes": 1}, {"lanes": "16"}], "banks": {}}')
in_map = message('{"order": [], "banks": {"biases": {"lanes": 1}, "weights": {"lanes": "16"}}}')
print(in_array, in_map, sep="\n")
assert "$.order[1].lanes" in in_array, "the behaviour has changed"
assert "$.banks[...].lanes" in in_map and "weights" not in in_map, "the behaviour has changed"
PYTHON
"$work/venv/bin/python" "$work/path.py"
