"""A plugin whose pass is not registered."""

from dataclasses import dataclass
from typing import ClassVar

from gradcam.passes.infra.pass_base import Pass


@dataclass(frozen=True)
class Forgotten(Pass):
    """Does nothing."""

    name: ClassVar[str] = "test-forgotten"
