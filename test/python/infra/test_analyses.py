"""Analyses that outlive a pass: kept as long as passes preserve them, computed anew otherwise."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
from torch_mlir import ir

from gradcam.dialect import make_context
from gradcam.errors import GradcamError
from gradcam.passes.infra.analyses import analysis, invalidate, keeping
from gradcam.passes.infra.pass_base import Pass
from gradcam.passes.infra.pass_manager import PassFailure, PassManager

COUNTED = []


def count(module):
    """An analysis that is never the same twice."""
    COUNTED.append(module)
    return len(COUNTED)


@dataclass(frozen=True)
class Ask(Pass):
    name: ClassVar[str] = "ask"
    preserves = (count,)
    fails: bool = False

    def run(self, module):
        SEEN.append(analysis(count, module))
        if self.fails:
            raise GradcamError("no")


@dataclass(frozen=True)
class Change(Pass):
    name: ClassVar[str] = "change"

    def run(self, module):
        pass


SEEN = []


@pytest.fixture(autouse=True)
def fresh():
    SEEN.clear()
    COUNTED.clear()


@pytest.fixture
def module():
    return ir.Module.parse("module {}", make_context())


def test_outside_of_keeping_every_request_computes_anew(module):
    assert [analysis(count, module), analysis(count, module)] == [1, 2]


def test_a_result_is_kept_until_it_is_invalidated(module):
    with keeping():
        assert [analysis(count, module), analysis(count, module)] == [1, 1]
        invalidate([count])
        assert analysis(count, module) == 1
        invalidate()
        assert analysis(count, module) == 2
    assert analysis(count, module) == 3


def test_a_result_belongs_to_one_module(module):
    other = ir.Module.parse("module {}", module.context)
    with keeping():
        assert [analysis(count, module), analysis(count, other), analysis(count, other)] == [1, 2, 2]


@pytest.mark.parametrize(("between", "seen"), [(Ask(), [1, 1, 1]), (Change(), [1, 2])], ids=["preserves", "changes"])
def test_the_pass_manager_forgets_what_a_pass_does_not_preserve(module, between, seen):
    PassManager().add(Ask()).add(between).add(Ask()).run(module)
    assert seen == SEEN


@pytest.mark.parametrize("between", ["canonicalize", lambda module: None], ids=["upstream", "callable"])
def test_upstream_passes_and_callables_preserve_nothing(module, between):
    PassManager().add(Ask()).add(between).add(Ask()).run(module)
    assert SEEN == [1, 2]


def test_runs_of_one_keeping_share_what_is_kept(module):
    manager = PassManager().add(Ask())
    manager.run(module)
    manager.run(module)
    with keeping():
        manager.run(module)
        manager.run(module)
    assert SEEN == [1, 2, 3, 3]


def test_what_a_failing_pass_leaves_is_forgotten(module):
    with keeping():
        with pytest.raises(PassFailure):
            PassManager().add(Ask()).add(Change()).add(Ask(fails=True)).run(module)
        invalidated = analysis(count, module)
    assert SEEN == [1, 2] and invalidated == 2  # Ask preserves what it asks, also when it fails


def test_a_step_that_changes_a_module_and_runs_passes_itself_gets_nothing_stale(module):
    def changes_and_asks(module):
        PassManager().add(Ask()).run(module)
        SEEN.append(analysis(count, module))

    PassManager().add(Ask()).add(changes_and_asks).add(Ask()).run(module)
    assert SEEN == [1, 2, 3, 4]
