#!/usr/bin/env bash
# torch 2.13.0: torch.onnx.export drops the divisor_override of an average pool without a word, by the exporter of
# torch.export and by the older one: the ONNX model divides by the size of the window. ONNX's AveragePool has no such
# attribute. A guess would be an error, or a multiplication by the ratio of the two divisors.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet \
  torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$work/divisor.py" <<'PYTHON'
import io
import logging
import warnings

import onnxruntime
import torch

logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # it misses torchvision
pool, image = torch.nn.AvgPool2d(2, divisor_override=3).eval(), torch.ones(1, 1, 2, 2)


def exported(dynamo):
    file = io.BytesIO()
    torch.onnx.export(pool, (image,), file, dynamo=dynamo, verbose=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    return result.item()


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    found = pool(image).item(), exported(dynamo=True), exported(dynamo=False)
print("four ones divided by 3: PyTorch {:.4f}, exported by torch.export {:.4f}, by the older exporter {:.4f}".format(*found))
assert abs(found[0] - 4 / 3) < 1e-6 and found[1:] == (1.0, 1.0), "the behaviour has changed"
assert not any("divisor" in str(warning.message) for warning in said), "the behaviour has changed"
PYTHON
"$work/venv/bin/python" "$work/divisor.py"
