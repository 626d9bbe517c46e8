"""benchmarks/onnx_runtimes.py: the comparison can fail. No other runtime is installed here."""

import numpy as np
import onnx_runtimes as benchmark
import pytest


@pytest.fixture
def known():
    random = np.random.default_rng(0)
    values = {f"{name}{n}": random.standard_normal((1, 4)) for name in ("logits", "map") for n in range(2)}
    return values | {"image": np.zeros((1, 3, 2, 2))}


def played(known):
    """A runtime that gives what is known."""
    return lambda _, cls: [known[f"{name}{benchmark.CLASSES.index(cls[0])}"] for name in ("logits", "map")]


def test_equal_values_have_no_error(known):
    assert list(benchmark.errors(played(known), known)) == [(0.0, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize(("name", "place"), [("logits0", 0), ("map0", 1), ("logits1", 2), ("map1", 3)])
def test_one_other_number_is_noticed(known, name, place):
    other = {key: value.copy() for key, value in known.items()}
    other[name][0, 2] += 1e-3 * np.abs(known[name]).max()
    errors = [error for pair in benchmark.errors(played(other), known) for error in pair]
    assert errors[place] == pytest.approx(1e-3) and sum(errors) == errors[place]


def test_another_shape_is_noticed():
    assert benchmark.relative(np.zeros((1, 2, 3)), np.ones((1, 3, 2))) == np.inf


def test_a_runtime_that_computes_something_else_fails(known, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.onnx").touch()
    np.savez(tmp_path / "x.npz", **known)
    for change, code in ((0.0, 0), (1e-3, 1)):
        other = {key: value * (1 + change) for key, value in known.items()}
        monkeypatch.setattr(benchmark, "RUNTIMES", {"numpy": lambda file, other=other: played(other)})
        assert benchmark.main(["compare", str(tmp_path)]) == code
        assert f"| numpy {np.__version__} | 1 |" in capsys.readouterr().out
