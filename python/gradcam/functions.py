"""Activation functions that are computed by a table of 256 entries, and their derivatives, in f64.

Sources: GELU, Hendrycks and Gimpel 2016; SiLU, Elfwing et al. 2017; Mish, Misra 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Real = Callable[[np.ndarray], np.ndarray]

_erf = np.vectorize(math.erf, otypes=[np.float64])


class Function(NamedTuple):
    """A function of one number.

    Attributes:
        value: the function.
        slope: its derivative.
        limit: the magnitude of an input beyond which neither changes by more than half a step of int8; infinite for a
            function without bounds.
        is_nonnegative: whether no value is negative, whatever the input is.
    """

    value: Real
    slope: Real
    limit: float = math.inf
    is_nonnegative: bool = False


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _sigmoid_slope(x: np.ndarray) -> np.ndarray:
    return _sigmoid(x) * _sigmoid(-x)


def _tanh_slope(x: np.ndarray) -> np.ndarray:
    return 1 - np.tanh(x) ** 2


def _silu(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)


def _silu_slope(x: np.ndarray) -> np.ndarray:
    return _sigmoid(x) + x * _sigmoid_slope(x)


def _normal(x: np.ndarray) -> np.ndarray:
    """The distribution function of the standard normal distribution."""
    return 0.5 * (1 + _erf(x / math.sqrt(2)))


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * _normal(x)


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    return _normal(x) + x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)


def _inner(x: np.ndarray) -> np.ndarray:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(_inner(x)))


def _gelu_tanh_slope(x: np.ndarray) -> np.ndarray:
    inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * (1 + np.tanh(_inner(x))) + 0.5 * x * _tanh_slope(_inner(x)) * inner_slope


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def _mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(_softplus(x))


def _mish_slope(x: np.ndarray) -> np.ndarray:
    return np.tanh(_softplus(x)) + x * _tanh_slope(_softplus(x)) * _sigmoid(x)


#: The functions by name.
FUNCTIONS = {
    "gelu": Function(_gelu, _gelu_slope),
    "gelu_tanh": Function(_gelu_tanh, _gelu_tanh_slope),
    "mish": Function(_mish, _mish_slope),
    "sigmoid": Function(_sigmoid, _sigmoid_slope, 8.0, is_nonnegative=True),
    "silu": Function(_silu, _silu_slope),
    "tanh": Function(np.tanh, _tanh_slope, 4.0),
}
