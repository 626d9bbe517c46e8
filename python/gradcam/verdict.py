"""What a report says about the int8 network: the rows of its text, and the warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gradcam.bits import integers_named
from gradcam.checks import named
from gradcam.schema.program import Explanation
from gradcam.schema.report import MapQuality, Quality, Report

#: A quality with less than these is warned of: the share of images with the class of the float network, the median and
#: the 10th percentile of the Pearson coefficients. By eye, maps look the same from about 0.95 on.
LEAST_SAME_CLASS, LEAST_MEDIAN, LEAST_TENTH = 0.9, 0.95, 0.8

#: And one with more than these: the error of a logit as a share of the largest logit, the share of the pixels outside
#: of the calibrated range, the share of a layer's activations or of a gradient that saturates, the share of a layer's
#: weights that round to 0.
MOST_LOGIT_ERROR, MOST_OUTSIDE, MOST_SATURATED, MOST_ZEROED = 0.1, 0.01, 0.01, 0.5


#: The 10th percentile of int8's maps is clearly below that of float's own with noise where it is below what looks the
#: same, and its distance to 1 is more than this many times as large.
CLEARLY = 3.0

#: The methods whose maps come closer to float's before the last stage, by method.
CLOSER = {"gradcam": ("hirescam", "layercam"), "hirescam": ("layercam",)}


#: The settings of bits that maps gain from, up to about this many.
WIDENED, ENOUGH = ("gradient_bits", "activation_bits"), 12


def quality_rows(quality: Quality, explains: Mapping[str, Explanation]) -> list[tuple[str, str]]:
    """The rows of a report's text: the whole quality in one line, the maps, float's own maps, what saturates."""
    rows = [("quality", quality_line(quality))]
    if len(quality.maps) > 1:
        rows += [(f"quality, {n}", f"{_asked(explains[n])}: Pearson {_pearson(m)}") for n, m in quality.maps.items()]
    for name, noise in quality.noise.items():
        which = "the map" if len(quality.noise) == 1 else name
        shift = f"{_short(quality.shift[name])} after a shift by a pixel (median, 10th percentile)"
        rows.append((f"float's own, {which}", f"Pearson {_short(noise)} with noise of half a level, {shift}"))
    rows.append(("pixels outside of the range", percent(quality.pixels_outside)))
    for what, of, shares in (
        ("activations", "layer", quality.saturated),
        ("gradients", "gradient", quality.saturated_gradients),
    ):
        if shares:
            worst = max(shares, key=lambda s: s.share)
            where = f", {worst.layer}" if worst.share else ""
            rows.append((f"saturated {what}", f"at most {percent(worst.share)} of a {of}{where}"))
    return rows


def quality_line(quality: Quality) -> str:
    """The quality in one line; of several maps the one with the least median."""
    worst = min((m for m in quality.maps.values() if m.median is not None), key=lambda m: m.median or 0, default=None)
    parts = [_same_class(quality), f"largest error of a logit {_logit_error(quality)}"]
    if quality.maps:
        parts.append(f"Pearson of the map {_pearson(worst or next(iter(quality.maps.values())))}")
    return "; ".join(parts)


def warnings(report: Report) -> list[str]:
    """What a compile must not leave unsaid, one line each."""
    found = list(_rounding_warnings(report))
    return found + list(quality_warnings(report.quality, report)) if report.quality else found


def quality_warnings(quality: Quality, report: Report) -> Iterator[str]:
    """What is bad about a quality of the design of a report, at its compile or in a run, one line each."""
    integers = integers_named(report.bits)
    if quality.same_class < LEAST_SAME_CLASS * quality.images:
        yield f"{integers} and float disagree: {_same_class(quality)}"
    if quality.logit_error > MOST_LOGIT_ERROR * quality.largest_logit:
        yield f"the logits of {integers} are off by up to {_logit_error(quality)}"
    for name, found in quality.maps.items():
        yield from _map_warnings(name, found, quality.noise.get(name), report)
    if quality.pixels_outside > MOST_OUTSIDE:
        yield f"{percent(quality.pixels_outside)} of the pixels lie outside of the calibrated range and saturate"
    for what, found in (("activations", quality.saturated), ("gradients", quality.saturated_gradients)):
        yield from _of_layers(what, "saturate", [(s.layer, s.share) for s in found], MOST_SATURATED)


def _map_warnings(name: str, found: MapQuality, noise: MapQuality | None, report: Report) -> Iterator[str]:
    """A map that looks other than float's, beside what float makes of it with noise, and what comes closer."""
    if found.median is None or found.tenth is None:
        return
    own = noise.tenth if noise else None
    is_below = own is not None and found.tenth < LEAST_MEDIAN and 1 - found.tenth > CLEARLY * (1 - own)
    if not (is_below or _looks_other(found)):
        return
    text = f"{name} of {integers_named(report.bits)} differs from the map of float: Pearson {_pearson(found)}"
    if noise is None or own is None:
        yield text
    elif _looks_other(noise) and not is_below:
        yield f"{text}; so does float's own with noise of half a level, {own:.4f} (10th percentile)"
    else:
        remedies = _remedies(report.explains[name], report.bits)
        yield f"{text}; float's own with noise of half a level has {own:.4f} (10th percentile); {remedies}"


def _looks_other(found: MapQuality) -> bool:
    """Whether a map that correlates so with another one paints other strokes."""
    return (
        found.median is not None
        and found.tenth is not None
        and (found.median < LEAST_MEDIAN or found.tenth < LEAST_TENTH)
    )


def _remedies(asked: Explanation, bits: Mapping[str, int]) -> str:
    """What brings int8's map closer to float's and is not yet applied."""
    found = [f"{named(name)} {bits[name] + 1} or more" for name in WIDENED if bits[name] < ENOUGH]
    if methods := " or ".join(CLOSER.get(asked.method, ())):
        found.append(f"{named('method')} {methods}")
    return "remedies: " + ", ".join([*found, f"a target layer behind '{asked.target}'"])


def _asked(explanation: Explanation) -> str:
    rank = f", class {explanation.rank + 1} of those explained" if explanation.rank else ""
    return f"{explanation.target} by {explanation.method}{rank}"


def _rounding_warnings(report: Report) -> Iterator[str]:
    """The layers whose weights are lost, in one line."""
    shares = [(layer.layer, layer.zeroed / layer.nonzero) for layer in report.rounding if layer.nonzero]
    yield from _of_layers("weights", f"round to 0 in int{report.bits['weight_bits']}", shares, MOST_ZEROED)


def _of_layers(what: str, happens: str, shares: Sequence[tuple[str, float]], limit: float) -> Iterator[str]:
    bad = sorted((item for item in shares if item[1] > limit), key=lambda item: -item[1])
    if bad:
        (layer, share), *others = bad
        more = f", and more than {percent(limit)} in {len(others)} other layers" if others else ""
        yield f"{percent(share)} of the {what} of '{layer}' {happens}{more}"


def percent(share: float) -> str:
    """A share as text: "0 %", "0.012 %", "12 %"; what is not 0 or all never looks so."""
    return f"{100 * share:.2g} %" if 0.0 < share < 0.995 else f"{100 * share:.4g} %"


def _same_class(quality: Quality) -> str:
    images = f"{quality.same_class} of {quality.images} {quality.source} images"
    return f"the class of float in {images}"


def _logit_error(quality: Quality) -> str:
    relative = (
        f", {percent(quality.logit_error / quality.largest_logit)} of the largest" if quality.largest_logit else ""
    )
    return f"{quality.logit_error:.3g}{relative}"


def _short(found: MapQuality) -> str:
    if found.median is None or found.tenth is None:
        return "undefined"
    return f"{found.median:.4f}, {found.tenth:.4f}"


def _pearson(found: MapQuality) -> str:
    if found.median is None or found.tenth is None or found.least is None:
        return "undefined: no image has a map of float that is not constant"
    return f"{found.median:.4f} (median), {found.tenth:.4f} (10th percentile), {found.least:.4f} (least)"
