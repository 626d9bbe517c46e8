"""`gradcam-opt`: runs passes on MLIR, like mlir-opt."""

from __future__ import annotations

import sys

from gradcam.opt.driver import main

if __name__ == "__main__":
    sys.exit(main())
