"""benchmarks/bits.py: its choices, what it compiles, and its table. Nothing is mapped here."""

import bits as benchmark
import pytest
from rtl_networks import Network
from torch import nn

from gradcam.bits import Bits
from gradcam.compiler import Settings
from gradcam.errors import GradcamError

COUNTS = {"LUT": 1234.0, "FF": 567.0, "DSP": 8.0, "block RAM": 2.5}


def test_choices():
    assert [benchmark.bits_named(text) for text in benchmark.CHOICES][1] == Bits(9, 9, 8)
    for text in ("9-9", "9-9-8-8", "nine", "9-9-x", "\N{ARABIC-INDIC DIGIT NINE}-9-8"):
        with pytest.raises(GradcamError, match="bits are activations-gradients-weights, such as 9-9-8, got"):
            benchmark.bits_named(text)
    with pytest.raises(GradcamError, match=r"\(--weight-bits\) must be from 8 to 12, got 13"):
        benchmark.bits_named("8-8-13")


def test_designs_are_packed_where_two_products_fit(monkeypatch):
    """Cycles are those of every width, bytes on chip grow, and each design is mapped once."""
    mapped = []
    monkeypatch.setattr(
        benchmark, "synthesize", lambda folder, *_, **__: mapped.append(folder.name) or {"total": COUNTS}
    )
    net = Network(2, 4, 4, seed=1)
    net.explain(net.add(nn.ReLU(), net.conv(0, 4)))
    net.add(nn.ReLU(), net.conv(net.target, 4))
    net.add(nn.AdaptiveAvgPool2d(1))
    net.classify(3)
    settings = Settings("layers.1", "hirescam", "2x2", validate=False)
    choices = [Bits(), Bits(12, 12, 12)]
    found = list(benchmark.costs(net, settings, choices, "xcup"))
    assert mapped == ["8-8-8", "8-8-8-packed", "12-12-12"] and choices[0].packs() and not choices[1].packs()
    assert [(cost.name, cost.packed) for cost in found] == [("8-8-8", False), ("8-8-8", True), ("12-12-12", False)]
    assert found[0].cycles == found[1].cycles and found[0].bytes == found[1].bytes < found[2].bytes
    assert 0 < found[0].explanation < found[0].cycles
    head, _, *rows = benchmark.table(found).splitlines()
    assert [cell.strip() for cell in head.split("|")[1:3]] == ["activations-gradients-weights", "packed"]
    cells = [cell.strip() for cell in rows[1].split("|")[1:-1]]
    assert cells[:3] == ["8-8-8", "yes", f"{found[1].cycles:,}"]
    assert cells[4:8] == ["1,234", "567", "8", "2.5"]


def test_bits_that_are_none_are_one_line(capsys):
    assert benchmark.main(["--bits", "8-8"]) == 1
    assert capsys.readouterr().err == "bits: error: bits are activations-gradients-weights, such as 9-9-8, got '8-8'\n"
