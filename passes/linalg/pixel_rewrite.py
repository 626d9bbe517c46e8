"""Rewrites a block for the pixels that gradcam-group-pixels puts side by side."""

from __future__ import annotations

from typing import Any

from torch_mlir import ir

from gradcam.dialect import adjoint_ops, layout_ops, ops
from gradcam.dialect.adjoints import part_location
from gradcam.dialect.layout_ops import channels_per_tap
from gradcam.dialect.verify import padding_of, shape
from gradcam.passes.ir.queries import location_name
from gradcam.passes.linalg.pixel_choice import PRODUCTS, Choice, axes_between, is_map
from gradcam.passes.linalg.pixel_groups import SINGLE, Group, GroupedAxis, grouped_type, grouped_weights, groups_of
from gradcam.passes.linalg.stored_constants import erase_stored_if_unused, integer_list, store_like, stored_integers
from gradcam.quant_types import scales


class Rewriter:
    """Replaces the ops of a block by those of the chosen groups."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        #: What has the pixels of a map, by the map and the group in which they lie.
        self._forms: dict[tuple[ir.Value, Group], ir.Value] = {}
        self._weights: dict[tuple[ir.Value, tuple[GroupedAxis, ...]], ir.Value] = {}
        self._names: dict[str, list[int]] = {}

    def run(self) -> dict[str, list[int]]:
        """Rewrites every op that computes a map in groups, or reads one.

        Returns:
            Rows and columns of the groups of each map that is computed in groups, and the channels that a pixel takes,
            by the name of the map.
        """
        products = {op.results[0]: between for op, *between in self._choice.products()}
        replaced = [reader.op for reader in self._choice.readers if self._rewrite(reader.op, products)]
        for op in reversed(replaced):
            constants = list(op.operands)[1:] if op.results[0] in products else []
            op.operation.erase()
            for constant in constants:
                erase_stored_if_unused(constant)
        return self._names

    def _rewrite(self, op: Any, products: dict[ir.Value, list[Group]]) -> bool:
        """Whether a new op takes the place of the op; else it reads single pixels."""
        result = op.results[0] if op.results else None
        with ir.InsertionPoint(op), op.location:
            if result in products and products[result] != [SINGLE, SINGLE]:
                operand, group = products[result]
                self._keep(op, group, self._product(op, operand, group))
                return True
            group = SINGLE if result is None or result in products else self._choice.group(result)
            operands = [self._form(x, group) if is_map(x) else x for x in op.operands]
            if group == SINGLE:
                for number, operand in enumerate(operands):
                    op.operands[number] = operand
                return False
            attributes = {name: op.attributes[name] for name in op.attributes}
            new = ir.Operation.create(op.operation.name, [grouped_type(result, group)], operands, attributes)
            self._keep(op, group, new.results[0])
            return True

    def _keep(self, op: Any, group: Group, new: ir.Value) -> None:
        """Keeps what takes the place of the op's result."""
        self._forms[op.results[0], group] = new
        if group != SINGLE and (name := location_name(op)):
            self._names[name] = [*group, channels_per_tap(shape(op.results[0])[1])]

    def _form(self, map_: ir.Value, group: Group) -> ir.Value:
        """The pixels of a map in groups: as they are computed, or a copy."""
        if (map_, group) not in self._forms:
            there = next((g for m, g in self._forms if m == map_), SINGLE)
            self._forms[map_, group] = self._copy(map_, there, group)
        return self._forms[map_, group]

    def _copy(self, map_: ir.Value, there: Group, group: Group) -> ir.Value:
        if group == there:  # no op has made another form of it
            return map_
        x = self._forms.get((map_, there), map_)
        if group == SINGLE:
            with part_location(map_, "pixels"):
                return layout_ops.Fold2dOp(x, integer_list(there), map_.type).y
        with part_location(map_, "groups"):
            sides, none, one = (integer_list(n) for n in (group, (0, 0), (1, 1)))
            return layout_ops.Unfold2dOp(x, sides, sides, none, none, one, grouped_type(map_, group)).y

    def _product(self, op: Any, operand: Group, result: Group) -> ir.Value:
        """The convolution of groups in the place of one of single pixels, or its adjoint."""
        axes = tuple(axes_between(op, operand, result))
        x, type_ = self._form(op.operands[0], operand), grouped_type(op.results[0], result)
        _, stride, low, high, dilation = zip(*(a.window for a in axes), strict=True)
        window = integer_list(stride), integer_list(padding_of(low, high)), integer_list(dilation)
        w = self._rewritten(op.operands[1], axes)
        if PRODUCTS[op.operation.name]:
            return adjoint_ops.Conv2dAdjointOp(x, w, *window, op.groups, type_).gx
        bias = None if op.bias is None else _spread(op.bias, result)
        return ops.Conv2dOp(x, w, bias, *window, op.groups, type_).y

    def _rewritten(self, w: ir.Value, axes: tuple[GroupedAxis, ...]) -> ir.Value:
        """Weights for groups, once for all ops that read them."""
        if (w, axes) not in self._weights:
            outputs, _ = groups_of(axes)
            self._weights[w, axes] = store_like(
                grouped_weights(stored_integers(w), axes), w, _spread_scales(w, outputs)
            )
        return self._weights[w, axes]


def _spread(values: ir.Value, group: Group) -> ir.Value:
    return store_like(group.spread(stored_integers(values), 0), values, _spread_scales(values, group))


def _spread_scales(values: ir.Value, group: Group) -> Any:
    steps = scales(values)
    return group.spread(steps, steps[0]) if steps.ndim else steps
