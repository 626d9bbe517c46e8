"""The class activation methods: those that can be derived at compile time, and the reasons against the others."""

from __future__ import annotations

from gradcam.errors import GradcamError, did_you_mean

#: Methods whose map is a formula of the feature map and its gradient. gradcam: Selvaraju et al. 2017; hirescam: Draelos
#: and Carin 2020; xgradcam: Fu et al. 2020; layercam: Jiang et al. 2021; gradcam-elementwise: GradCAMElementWise of
#: pytorch-grad-cam; gradcam++: Chattopadhay et al. 2018, eq. 19.
METHODS = ("gradcam", "hirescam", "xgradcam", "layercam", "gradcam-elementwise", "gradcam++")

#: What is added to divisors where nothing else is asked, by the method where it has a value of its own: what
#: pytorch-grad-cam adds. It counts where gradients are small: squares of 1e-3 are as large as that of gradcam++.
EPS, EPS_OF = 1e-7, {"gradcam++": 1e-6}

_SCORE = "its weights are class scores of masked images, one inference per channel"
_ABLATION = "its weights are the score's drops without each channel, one inference per channel"
_EIGEN = "it projects on a principal component, an iteration whose length depends on the data"

#: Methods of common libraries that have no such formula, each with the reason.
WITHOUT_STATIC_FORM = {
    "scorecam": _SCORE,
    "sscam": _SCORE,
    "iscam": _SCORE,
    "ablationcam": _ABLATION,
    "eigencam": _EIGEN,
    "eigengradcam": _EIGEN,
    "kpcacam": _EIGEN,
    "smoothgradcam++": "it averages over noisy copies of the image, one inference each",
    "shapleycam": "its weights need second derivatives of the whole network",
    "fullgrad": "it adds up gradients of every layer's bias and explains no single target layer",
    "randomcam": "its weights are drawn at random",
}


def method_named(name: str) -> str:
    """The method that a name means, as people write it: `Grad-CAM++`, `GradCAMPlusPlus` and `gradcam++` are one.

    Raises:
        GradcamError: there is none, or it has no static form.
    """
    methods, others = {_key(method): method for method in METHODS}, {_key(n): n for n in WITHOUT_STATIC_FORM}
    key = _key(name)
    if key in methods:
        return methods[key]
    choices = f"choose one of {', '.join(METHODS)}"
    if key in others:
        raise GradcamError(f"method '{name}' has no static form: {WITHOUT_STATIC_FORM[others[key]]}; {choices}")
    raise GradcamError(f"unknown method '{name}'{did_you_mean(key, methods) or f'; {choices}'}")


def method_fault(name: str) -> str:
    """Why `name` is no method as the IR has it, in one line; empty when it is."""
    try:
        meant = method_named(name)
    except GradcamError as error:
        return error.message
    return "" if meant == name else f"method '{name}' is written '{meant}'"


def _key(name: str) -> str:
    """A method's name without what people write differently."""
    plain = "".join(char for char in name.lower() if char not in "-_ ")
    return plain.replace("plusplus", "++").replace("campp", "cam++")
