"""The bits of the integers of a quantized network, as `--activation-bits` and its neighbours choose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from gradcam.checks import check_type, named
from gradcam.errors import GradcamError

#: The fewest bits, which are the default, and the most ones.
LEAST = 8
MOST = {"activation_bits": 12, "gradient_bits": 16, "weight_bits": 12}

#: Bits of the signed factors of the multiplier in a DSP48E2; the wider one has 25 in a DSP48E1.
WIDE, NARROW = 27, 18


@dataclass(frozen=True)
class Bits:
    """Bits of each kind of integer; those of a sign are among them.

    Attributes:
        activation_bits: of feature maps, and of the slopes of activations.
        gradient_bits: of gradients.
        weight_bits: of weights.

    Raises:
        GradcamError: a number is not possible.
    """

    activation_bits: int = LEAST
    gradient_bits: int = LEAST
    weight_bits: int = LEAST

    def __post_init__(self) -> None:
        check_bits(self)

    @classmethod
    def of(cls, holder: object) -> Bits:
        """Those of the settings of a compile, or of a pass, which has them under the same names."""
        return cls(**{field.name: getattr(holder, field.name) for field in fields(cls)})

    def packs(self, wide: int = WIDE) -> bool:
        """Whether a DSP slice multiplies two weights by one activation at once; `wide` as `fits_slice` takes it."""
        field = self.activation_bits + self.weight_bits
        return fits_slice(field, self.weight_bits, self.activation_bits + 1, wide)


def fits_slice(field: int, own: int, shared: int, wide: int) -> bool:
    """Whether one multiplication of a DSP slice is enough for two products that share a factor.

    Args:
        field: bits of a product.
        own: bits of the factor that each product has for itself, with a sign.
        shared: bits of the other factor, with a sign.
        wide: bits of the slice's wider factor, with a sign.
    """
    return field + own + 1 <= wide and shared <= NARROW


def check_bits(holder: object, named: Callable[[str], str] = named) -> None:
    """Refuses numbers of bits that are not possible.

    Args:
        holder: has some of the names of `MOST`.
        named: one of these as messages name it.

    Raises:
        GradcamError: there is one.
    """
    for name, most in MOST.items():
        if (value := getattr(holder, name, LEAST)) is not None:
            check_type(named(name), value, "int")
            if not LEAST <= value <= most:
                raise GradcamError(f"{named(name)} must be from {LEAST} to {most}, got {value}")


def integers_named(bits: Mapping[str, int]) -> str:
    """The integers of a network in a sentence, by the bits of each kind."""
    return f"int{LEAST}" if set(bits.values()) == {LEAST} else "the integers"


def whole_bits(bits: int) -> int:
    """Bits of the narrowest integer of NumPy, and of a DRAM, that holds integers of so many bits."""
    return next(n for n in (8, 16, 32, 64) if bits <= n)


def signed_bits(low: int, high: int) -> int:
    """Bits of a two's complement number that holds every value from `low` to `high`."""
    return max((n if n >= 0 else ~n).bit_length() for n in (low, high)) + 1
