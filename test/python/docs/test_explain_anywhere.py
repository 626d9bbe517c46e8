"""docs/explain_anywhere.md is true: its Python runs, and is as short as it says."""

import numpy as np
import onnxruntime
from documents import Document, run_python

DOCUMENT = Document("docs/explain_anywhere.md")


def test_ten_lines_give_a_map(tmp_path):
    (code,) = DOCUMENT.marked("run", "python")
    assert len(code.splitlines()) <= 10
    assert run_python(code, tmp_path) == "0 (1, 16, 16)\n"  # the first shipped image is a 0
    session = onnxruntime.InferenceSession(tmp_path / "explained.onnx")
    _, heatmap = session.run(None, {"image": np.zeros((1, 3, 64, 64), np.float32), "class": np.array([0])})
    assert heatmap.shape == (1, 16, 16)
