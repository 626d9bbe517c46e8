"""The forms in which a model is named or saved: what is taken, and what is refused with a way to go on."""

import json
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from folders import BIN
from frontend_models import SHAPE, Trunk, body_ops
from torch import nn
from torch.export import Dim

from gradcam import frontend
from gradcam.errors import GradcamError
from gradcam.execution.float32 import run_float

SOURCE = """
import sys
import torch
from torch import nn
from widths import NARROW

class Net(nn.Module):
    input_shape = (1, 3, 8, 8)

    def __init__(self, width=NARROW, *, scales=(1.0,), bias=True):
        super().__init__()
        print("made")
        self.conv, self.scales = nn.Conv2d(3, width, 3, bias=bias), scales
        self.fc = nn.Linear(width, 2)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))

def make(width, text="a:b"):
    return Net(width).eval()

def program():
    return torch.export.export(Net().eval(), (torch.zeros(1, 3, 8, 8),))

def leave():
    sys.exit(3)

def script():
    return torch.jit.script(nn.ReLU())

class Outer:
    inner = Net

model = Net(5).eval()
number = 3
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A Python file with models; its imports are beside it, not in the current folder."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/widths.py").write_text("NARROW = 4\n")
    (tmp_path / "code/net.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("widths", "net", "code.net"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "code/net.py"


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("Net", 4),
        ("Net()", 4),
        ("Net(width=16)", 16),
        ("Net(6, scales=[1, 2.5], bias=False)", 6),
        ("make(7)", 7),
        ("make(8, text='x.py:y')", 8),
        ("Outer.inner(9)", 9),
        ("model", 5),
    ],
)
def test_callables_with_literals_and_objects_of_files(file, name, width):
    for spec in (f"code/net.py:{name}", f"{file}:{name}"):
        model = frontend.load_model(spec)
        assert model.conv.out_channels == width and not model.training
    model = frontend.load_model("code/net.py:Net(3, scales={'a': (1, None)}, bias=False)")
    assert model.scales == {"a": (1, None)} and model.conv.bias is None


def test_packages_are_searched_in_the_current_folder(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert frontend.load_model("net:make(2)").conv.out_channels == 2
    assert isinstance(frontend.load_model("net:program"), torch.export.ExportedProgram)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("code/net.py", r"names a file but nothing in it; add a callable, such as code/net\.py:make$"),
        ("code/none.py:make", r"^no file code/none\.py$"),
        ("code/net:make", r"^there is no module 'code/net'; did you mean 'code/net\.py:make'\?$"),
        ("code/net.py:mak", r"^module code/net\.py has no mak; did you mean 'make'\?$"),
        ("code/net.py:number", "is not callable$"),
        ("code/net.py:make", r"missing a required argument: 'width'; it is declared as make\(width, text='a:b'\)$"),
        ("code/net.py:make(3, depth=4)", r"got an unexpected keyword argument 'depth'; it is declared as make\("),
        ("code/net.py:make(print())", r"arguments must be literals, each named once, such as make\(width=16\)$"),
        ("code/net.py:make(width)", "arguments must be literals"),
        ("code/net.py:make(*[3])", "arguments must be literals"),
        ("code/net.py:make(**{'width': 3})", "is not the name of a callable"),
        ("code/net.py:make(width=3, width=4)", "arguments must be literals, each named once"),
        ("code/net.py:make(3)(4)", "is not the name of a callable"),
        ("code/net.py:make(", "arguments must be literals"),
        ("code/net.py:make(3).fc", "is not the name of a callable"),
        ("code/net.py:model(3)", "is a model already; leave the arguments out$"),
        ("code/net.py:make('x')", r"^code/net\.py:make\('x'\) failed: TypeError: "),
        ("code/net.py:leave", r"^code/net\.py:leave\(\) failed: it ends the process \(sys\.exit\(3\)\)$"),
        ("code/net.py:leave()", r"^code/net\.py:leave\(\) failed: it ends"),
    ],
)  # fmt: skip
def test_names_that_are_refused(file, spec, message):
    with pytest.raises(GradcamError, match=message) as caught:
        frontend.load_model(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "raise SystemExit('usage')", "1 +", "import nothing_here"])
def test_a_file_that_cannot_be_imported(tmp_path, code):
    (tmp_path / "bad.py").write_text(code)
    with pytest.raises(GradcamError, match=r"^cannot import .*bad\.py: ") as caught:
        frontend.load_model(f"{tmp_path}/bad.py:make")
    assert "\n" not in str(caught.value)


def test_what_a_model_prints_does_not_enter_the_output(file):
    command = [BIN / "gradcam-import", f"{file}:Net(2)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=file.parent)
    assert done.stdout.startswith("module {") and "made" in done.stderr and "made" not in done.stdout


def test_torchscript_of_a_callable(file):
    with pytest.raises(GradcamError, match=r"makes no program of TorchScript; give the nn\.Module"):
        frontend.import_model(frontend.load_model("code/net.py:script"), (1, 3, 8, 8))


def saved(folder, name, content):
    """A file that PyTorch wrote, by its kind."""
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, torch.jit.ScriptModule):
        torch.jit.save(content, str(path))
    else:
        torch.save(content, path)
    return path


GO_ON = "compile the code that makes the network, path/file.py:callable, with --state-dict "
FILES = {
    "module": (lambda: nn.Linear(2, 2), "holds a pickled module, and unpickling one runs code; save its state dict by"),
    "script": (lambda: torch.jit.script(nn.ReLU()), "holds TorchScript, of which torch.export makes no program; save"),
    "state": (lambda: {"a": torch.zeros(2)}, f"holds a state dict, weights without a network; {GO_ON}"),
    "checkpoint": (lambda: {"model": {"a": torch.zeros(2)}}, f"holds a state dict, weights without a network; {GO_ON}"),
    "safetensors": (lambda: (2).to_bytes(8, "little") + b"{}   ", f"holds weights without a network; {GO_ON}"),
    "text": (lambda: b"hello", "holds nothing that is known; give package.module:callable, path/file.py:callable or"),
    "empty": (lambda: b"", "holds nothing that is known; give package.module:callable"),
    "number": (lambda: 3, "holds no state dict: it must map names to tensors"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pt2", ".onnx", ""])
@pytest.mark.parametrize("name", FILES)
def test_saved_files_that_are_no_model_say_how_to_go_on(tmp_path, name, suffix):
    content, message = FILES[name]
    path = saved(tmp_path, f"saved{suffix}", content())
    with pytest.raises(GradcamError, match=re.escape(message)) as caught:
        frontend.load_model(str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_no_pickle_is_ever_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    torch.save({"a": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(GradcamError, match="and unpickling them runs code"):
        frontend.load_model(str(tmp_path / "trap.pt"))
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def program(tmp_path):
    model = Trunk(lambda x: x.mean((2, 3)))
    torch.export.save(torch.export.export(model, (torch.zeros(SHAPE),)), tmp_path / "ok.pt2")
    return tmp_path / "ok.pt2"


def edited(program, change):
    """A program whose graph, as JSON text, is changed; None leaves the member out."""
    path = program.with_name("edited.pt2")
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = change(name, source.read(name))
            if data is not None:
                target.writestr(name, data)
    return path


def graph(function):
    return lambda name, data: function(data) if name.endswith("models/model.json") else data


DAMAGED = {
    "operator": (
        graph(lambda d: d.replace(b"torch.ops.aten.mean.dim", b"torch.ops.mine.mean.dim")),
        "calls operators that are not registered in torch, 'mine.mean.dim'; register them in a Python file",
    ),
    "quantized": (
        graph(lambda d: d.replace(b"torch.ops.aten.mean.dim", b"torch.ops.quantized_decomposed.quantize.default")),
        "'quantized_decomposed.quantize.default'; export the model before it is quantized",
    ),
    "version": (
        graph(lambda d: json.dumps(json.loads(d) | {"schema_version": {"major": 99, "minor": 1}}).encode()),
        "cannot read the program .*: SerializeError: Serialized schema version SchemaVersion\\(major=99",
    ),
    "cut graph": (graph(lambda d: d[:50]), "cannot read the program .*: JSONDecodeError: "),
    "no weights": (lambda n, d: None if n.endswith("weight_0") else d, "cannot read the program .*: RuntimeError: "),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_programs_that_torch_cannot_read_are_told_as_that(program, name, capfd):
    change, message = DAMAGED[name]
    path = edited(program, change)
    with pytest.raises(GradcamError, match=message) as caught:
        frontend.load_model(str(path))
    assert "\n" not in str(caught.value) and capfd.readouterr().err == ""


def test_a_cut_archive_is_damaged(program):
    path = program.with_name("cut.pt2")
    path.write_bytes(program.read_bytes()[:3000])
    with pytest.raises(GradcamError, match="is damaged: BadZipFile"):
        frontend.load_model(str(path))


@pytest.mark.parametrize("batch", [Dim("b"), Dim("b", min=2, max=64), torch.export.Dim.DYNAMIC])
@pytest.mark.parametrize("shape", [None, SHAPE])
def test_a_dynamic_batch_is_bound_to_1(tmp_path, batch, shape):
    model = Trunk(lambda x: x.mean((2, 3)).view(x.size(0), -1))
    dynamic = torch.export.export(model, (torch.zeros(2, *SHAPE[1:]),), dynamic_shapes=({0: batch},))
    torch.export.save(dynamic, tmp_path / "dynamic.pt2")
    loaded = frontend.load_model(tmp_path / "dynamic.pt2")
    graph = str(loaded.graph)
    assert frontend.target_layers(loaded, shape) == ["conv"]
    module = frontend.import_model(loaded, shape, target_layer="conv")
    image = torch.randn(SHAPE)
    (logits,) = run_float(frontend.import_model(loaded, shape), image.numpy())
    np.testing.assert_allclose(logits, model(image).detach().numpy(), rtol=1e-5, atol=1e-5)
    static = frontend.import_model(model, target_layer="conv")
    assert module.operation.get_asm(enable_debug_info=True) == static.operation.get_asm(enable_debug_info=True)
    assert str(loaded.graph) == graph, "the user's program was changed"


def test_other_dynamic_sizes_are_those_of_the_input_shape():
    model = Trunk(lambda x: x.mean((2, 3)))
    sizes = ({0: Dim("b"), 2: Dim("h"), 3: Dim("w")},)
    dynamic = torch.export.export(model, (torch.zeros(2, *SHAPE[1:]),), dynamic_shapes=sizes)
    module = frontend.import_model(dynamic, (1, 4, 10, 6))
    assert "tensor<1x4x10x6xf32>" in str(module.body.operations[0].attributes["function_type"])


def test_submodules_named_like_keywords():
    class Keywords(nn.Module):
        input_shape = SHAPE

        def __init__(self):
            super().__init__()
            self.add_module("class", nn.Conv2d(4, 4, 3))
            self.add_module("import", nn.Sequential(nn.ReLU()))

        def forward(self, x):
            return getattr(self, "import")(getattr(self, "class")(x)).mean((2, 3))

    model, image = Keywords().eval(), torch.randn(SHAPE)
    assert frontend.target_layers(model) == ["class", "import", "import.0"]
    module = frontend.import_model(model, target_layer="class")
    (target,) = [op for op in body_ops(module) if op.name == "gradcam.target"]
    assert target.attributes["path"].value == "class"
    (logits,) = run_float(frontend.import_model(model), image.numpy())
    np.testing.assert_allclose(logits, model(image).detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 100000, 100000), "has 30,000,000,000 numbers; the most are 67,108,864"),
        ("1,3,8,8", r"must be a tuple such as \(1, 3, 64, 64\), got '1,3,8,8'"),
        (8, r"must be a tuple such as \(1, 3, 64, 64\), got 8"),
        ((1, 3, 8.0, 8), "must be 1,C,H,W, got 1,3,8.0,8"),
        ((True, 3, 8, 8), "must be 1,C,H,W, got True,3,8,8"),
    ],
)
def test_input_shapes_that_cannot_be(shape, message):
    with pytest.raises(GradcamError, match=message):
        frontend.import_model(Trunk(lambda x: x.mean((2, 3))), shape)


def test_parameters_without_values():
    with pytest.raises(GradcamError, match="parameters have no values: they are on the device meta"):
        frontend.import_model(Trunk(lambda x: x.mean((2, 3))).to("meta"))
