"""Writes the hand-written design of the Python tests and inputs for it: DIR/design, DIR/image.npy and wrong ones."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "python" / "support"))
from sim_design import random_images, random_weights, write_design

folder = Path(sys.argv[1])
folder.mkdir()
write_design(folder / "design", random_weights())
image = random_images(1)[0]
np.save(folder / "image.npy", image)
np.save(folder / "real.npy", (image * 0.5).astype(np.float32))
np.save(folder / "size.npy", image[:, :1])
np.save(folder / "type.npy", image.astype(np.int64))
Image.new("RGB", (5, 3)).save(folder / "size.png")
