"""Runs a command whose stdout nobody reads."""

import os
import subprocess
import sys

read_end, write_end = os.pipe()
os.close(read_end)
result = subprocess.run(sys.argv[1:], stdout=write_end, stderr=subprocess.PIPE, text=True)
print(f"exit code {result.returncode}, stderr {result.stderr!r}")
