"""Text without large constants: what it says, and how it is recognized."""

import pytest
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.passes.infra.elision import LARGE, elided_text, find_elided
from gradcam.passes.infra.instrumentation import print_module

NUMBERS = ", ".join(map(str, range(LARGE + 1)))
TEXT = f"%0 = arith.constant dense<[{NUMBERS}]> : tensor<{LARGE + 1}xi8>"


def test_the_first_line_says_that_constants_are_left_out():
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(TEXT)
        text = print_module(module)
        note = f"// Constants of more than {LARGE} elements are left out: for reading, no tool takes this."
        assert text.splitlines()[0] == note
        assert find_elided(text.encode()) == (3, 25)
        whole = elided_text(module, LARGE + 1)
        assert "left out" not in whole and find_elided(whole.encode()) is None
        assert elided_text(module, None) == whole


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("%0 = arith.constant dense_resource<__elided__> : t", (1, 21)),
        ("\n// a comment\n  dense_resource<__elided__>", (3, 3)),
        ('loc("http://a") dense_resource<__elided__>', (1, 17)),
        ('loc("\\"//") dense_resource<__elided__>', (1, 13)),
        ("// CHECK: dense_resource<__elided__>", None),
        ("// CHECK: dense_resource<__elided__>\nx = dense_resource<__elided__>", (2, 5)),
        ("x = dense_resource<other>", None),
    ],
)
def test_comments_leave_nothing_out(text, place):
    assert find_elided(text.encode()) == place
