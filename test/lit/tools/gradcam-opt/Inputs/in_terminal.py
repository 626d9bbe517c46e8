"""Runs a command whose stdout is a terminal; prints its exit code, what the terminal got, and stderr."""

import os
import pty
import subprocess
import sys

terminal, stdout = pty.openpty()
result = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True)
os.close(stdout)
try:
    got = os.read(terminal, 4)
except OSError:  # nothing was written
    got = b""
print(f"exit code {result.returncode}, terminal {got!r}, stderr {result.stderr!r}")
