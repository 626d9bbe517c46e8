"""A network in use: PaddleOCR's classifier of text that is upside down, from the package rapidocr-onnxruntime.

The package is no part of the tests: `pip install --no-deps rapidocr-onnxruntime==1.4.4`. Its network has depthwise
convolutions, squeeze-and-excite blocks and hard-swishes, and comes as opset 11 with no size but the channels fixed.
"""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageDraw, ImageFont

import gradcam
from gradcam import frontend
from gradcam.execution.float32 import run_float

PACKAGE = importlib.util.find_spec("rapidocr_onnxruntime")
SHAPE = (1, 3, 48, 192)
TEXTS = ("Grad-CAM", "compiler", "Hello 2026", "MLIR 19.1", "one word", "exit 7", "No. 48 x 192", "quantize")

pytestmark = pytest.mark.skipif(PACKAGE is None, reason="the package rapidocr-onnxruntime is not installed")


def model():
    (folder,) = PACKAGE.submodule_search_locations
    return Path(folder) / "models" / "ch_ppocr_mobile_v2.0_cls_infer.onnx"


def lines(turned):
    """Lines of text as inputs of the network: N x 3 x 48 x 192 from -1 to 1."""
    images = []
    for text in TEXTS:
        image = Image.new("RGB", (192, 48), "white")
        ImageDraw.Draw(image).text((96, 24), text, "black", ImageFont.load_default(30), anchor="mm")
        images.append(np.asarray(image.rotate(180) if turned else image, np.float32).transpose(2, 0, 1) / 127.5 - 1)
    return np.stack(images)


def probabilities(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_f32_equals_onnxruntime():
    images = np.concatenate([lines(False), lines(True)])
    session = onnxruntime.InferenceSession(str(model()), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"x": image[None]})[0] for image in images])
    module = frontend.import_model(frontend.load_model(model()), SHAPE)
    found = probabilities(run_float(module, images)[0])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert (wanted.argmax(1) == np.repeat([0, 1], len(TEXTS))).mean() > 0.8


def test_rtl_equals_the_integers(tmp_path):
    images = np.concatenate([lines(False), lines(True)])
    options = {"calibration": images, "input_shape": SHAPE}
    design = gradcam.compile(model(), tmp_path / "ocr", "MaxPool@0", **options)
    for result in design.simulate(images[::6]):
        assert result.cycles == design.program.cycles and result.heatmap.any()
    quality = design.report().quality
    assert quality.same_class >= 0.9 * quality.images
