"""report.html of a compile: what it says, that it loads nothing, that no text of others becomes markup."""

import json
import math
import shutil

import pytest
from page_network import Net
from pages import Page, bars, nests

from gradcam.compiler import Settings
from gradcam.output import compile_to_folder
from gradcam.page import page, write_page
from gradcam.page.levels import STEPS, level_rows
from gradcam.page.render import count, size, static
from gradcam.passes.registry import PASSES
from gradcam.schema.report import PassTime
from gradcam.tools import gradcam_report

#: A name that would run a script wherever it is not escaped.
EVIL = "</script><img src=x onerror=alert(1)>\"'&"

MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "design"
    compile_to_folder(Net(), "a network", Settings("second", pe="4x4"), folder)
    return folder


@pytest.fixture
def folder(compiled, tmp_path):
    return shutil.copytree(compiled, tmp_path / "design")


def parsed(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def edit(path, change):
    contents = json.loads(path.read_text())
    change(contents)
    path.write_text(json.dumps(contents))


def test_a_compile_writes_a_small_page_that_loads_nothing(compiled):
    found = parsed(compiled)
    assert found.loads == [] and found.handlers == []
    assert (compiled / "report.html").stat().st_size < MOST_BYTES
    assert "default-src 'none'" in (compiled / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "added",
    ['<img src="https://a.b/c.png">', '<script src="//a.b/c.js"></script>', "<style>@import 'x.css';</style>",
     "<style>p { background: url(x.png) }</style>", '<link rel="stylesheet" href="x.css">'],
)  # fmt: skip
def test_what_loads_something_is_found(compiled, added):
    assert Page((compiled / "report.html").read_text(encoding="utf-8") + added).loads


def test_the_gantt_chart_has_the_nests_of_the_program(compiled):
    program = json.loads((compiled / "program.json").read_text())
    assert bars(parsed(compiled)) == nests(program) and len(program["nests"]) > 4
    program["nests"][2]["end"] += 1
    assert bars(parsed(compiled)) != nests(program)


def test_the_occupancy_is_that_of_the_buffers_in_every_cycle(compiled):
    program = json.loads((compiled / "program.json").read_text())
    rows = parsed(compiled).data("schedule", "occupancy")
    held = {name: [0] * program["nests"][-1]["end"] for name, bank in program["banks"].items() if not bank["constant"]}
    for buffer in (buffer for buffer in program["buffers"] if buffer["bank"]):
        users = [n for n in program["nests"] if buffer["name"] in (*n["reads"], *n["writes"])]
        bank, count = program["banks"][buffer["bank"]], buffer["ring"] or 1
        for side in () if buffer["ring"] else buffer["shape"]:
            count *= side
        words = -(-count // bank["lanes"])
        for cycle in range(min(n["start"] for n in users), max(n["end"] for n in users)):
            held[buffer["bank"]][cycle] += -(-words * bank["lanes"] * bank["bits"] // 8)
    drawn = {name: [0] * len(cycles) for name, cycles in held.items()}
    for row in rows:
        drawn[row["bank"]][row["start"] : row["end"]] = [row["bytes"]] * (row["end"] - row["start"])
    assert drawn == held and any(map(any, held.values()))


def test_the_figures_and_tables_stand_in_the_text(compiled):
    report, found = json.loads((compiled / "report.json").read_text()), parsed(compiled)
    for phase in ("inference", "explanation", "total"):
        assert f"{report['cycles'][phase]:,}" in found.text
    assert f"{100 * report['utilization']:.1f} %" in found.text
    assert all(layer["name"] in found.text for layer in report["layers"])
    assert all(time["name"] in found.text for time in report["passes"])
    assert [row["cycles"] for row in found.chart("cycles")["data"]["values"]] == [x["cycles"] for x in report["layers"]]


def test_the_choices_say_what_they_cost(compiled):
    program, found = json.loads((compiled / "program.json").read_text()), parsed(compiled)
    rows = {row[0]: row for row in found.rows if len(row) == 8 and row[1] in {n["engine"] for n in program["nests"]}}
    chosen = json.loads((compiled / "schedule.json").read_text())["nests"].values()
    for nest, choice in zip(program["nests"], chosen, strict=True):
        steps, cycles = math.prod(nest["trips"]), nest["end"] - nest["start"]
        loops = " · ".join(f"{loop} {trip}" for loop, trip in zip(choice["loops"], nest["trips"], strict=True))
        beside = "" if nest["follows"] is None else program["nests"][nest["follows"]]["name"]
        figures = [f"{steps:,}", f"{cycles:,}", f"{cycles - steps:,}"]
        assert rows[nest["name"]] == [nest["name"], nest["engine"], loops, nest["stationary"] or "", *figures, beside]


def test_figures_are_written_as_people_do():
    assert [count(n) for n in (0, 1234567, 0.5, 1234.0)] == ["0", "1,234,567", "0.5", "1,234"]
    assert [size(n) for n in (0, 1023, 1024, 1536, 5 << 20)] == [
        "0 bytes",
        "1,023 bytes",
        "1.0 KiB",
        "1.5 KiB",
        "5.0 MiB",
    ]


def test_every_room_of_passes_has_its_levels():
    assert {room for _, room, *_ in PASSES} <= set(STEPS)


def test_names_of_others_are_text(folder):
    for name in ("program.json", "schedule.json", "report.json"):
        path = folder / name
        path.write_text(path.read_text().replace('"second.1"', json.dumps(EVIL)).replace("a network", EVIL[:9]))
    before = parsed(folder).tags
    write_page(folder)
    found = parsed(folder)
    assert found.tags == before and found.handlers == [] and found.loads == []
    assert EVIL in found.text and EVIL in [name for name, *_ in bars(found)]


def test_the_page_is_made_again_from_the_folder(folder, capsys):
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert gradcam_report.main([str(folder)]) == 0
    assert (folder / "report.html").read_bytes() == before
    assert capsys.readouterr().out == f"wrote {folder / 'report.html'}\n"


def older(name):
    return lambda folder: edit(folder / name, lambda contents: contents.update(format=contents["format"] - 1))


def figure(change):
    """Another figure in report.json."""
    return lambda folder: edit(folder / "report.json", change)


def area(modules):
    total = {"LUT": 12.5, "DSP": 0.0}
    return {"family": "xcup", "top": "top", "total": total, "modules": modules, "part": None, "timing": None}


def synthesized(text):
    def write(folder):
        (folder / "synth" / "xcup").mkdir(parents=True)
        (folder / "synth" / "xcup" / "synth.json").write_text(text)

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no such folder: {}"),
        (lambda folder: (shutil.rmtree(folder), folder.write_text("")), "this is no folder: {}"),
        (lambda folder: (folder / "program.json").unlink(), "it has neither program.json nor logits.npy"),
        (lambda folder: (folder / "report.json").unlink(), "cannot read {}/report.json: No such file or directory"),
        (older("program.json"), "{}/program.json: $.format must be"),
        (older("report.json"), "{}/report.json: $.format must be"),
        (lambda folder: (folder / "schedule.json").write_text("{}"), "not the schedule of program.json; compile again"),
        (
            lambda folder: edit(folder / "report.json", lambda r: r["cycles"].update(total=0)),
            "is not the report of program",
        ),
        (lambda folder: edit(folder / "report.json", lambda r: r["layers"].pop()), "is not the report of program.json"),
        (figure(lambda r: r.update(overhead=-0.1)), "report.json: $.overhead must be a number of at least 0, got -0.1"),
        (figure(lambda r: r.update(utilization=1.5)), "$.utilization must be"),
        (figure(lambda r: r["layers"][0].update(cycles=-1)), "$.layers[0].cycles must be an integer of at least 0"),
        (figure(lambda r: r["layers"][0].update(utilization=-1.0)), "$.layers[0].utilization must be"),
        (figure(lambda r: r["layers"][0].update(cycles=10**9)), "is not the report of program.json; compile again"),
        (figure(lambda r: r["memory_bytes"].update(weights=1)), "is not the report of program.json; compile again"),
        (figure(lambda r: r["passes"][0].update(seconds=-1.0)), "$.passes[0].seconds must be"),
        (figure(lambda r: r["quality"].update(logit_error=-1.0)), "$.quality.logit_error must be"),
        (figure(lambda r: r["quality"].update(pixels_outside=1.1)), "$.quality.pixels_outside must be"),
        (figure(lambda r: r["quality"]["maps"]["heatmap"].update(median=-1.1)), "$.quality.maps.heatmap.median must"),
        (figure(lambda r: r["quality"]["saturated"][0].update(share=2.0)), "$.quality.saturated[0].share must be"),
        (
            lambda folder: edit(folder / "program.json", lambda p: p["nests"][1].update(cycles=-1)),
            "$.nests[1].cycles must",
        ),
        (
            synthesized(
                '{"family": "a", "top": "b", "total": {"LUT": 1}, "modules": {"c": {}}, "part": null, "timing": null}'
            ),
            "synth/xcup/synth.json has modules with other resources than the total; run gradcam-synth again",
        ),
        (synthesized("{"), "synth/xcup/synth.json is no output of gradcam-synth; run it again"),
        (synthesized('{"family": "xcup"}'), "synth/xcup/synth.json is no output of gradcam-synth; run it again"),
    ],
)
def test_what_is_no_output_folder_is_refused_in_one_line(folder, capsys, damage, message):
    before = (folder / "report.html").read_bytes()
    damage(folder)
    assert gradcam_report.main([str(folder)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message.format(folder) in lines[0]
    if folder.is_dir():
        assert (folder / "report.html").read_bytes() == before


def test_a_synthesized_design_has_its_modules_in_the_treemap(folder):
    amounts = {"top": {"LUT": 7.0, "DSP": 0.0}, EVIL: {"LUT": 5.5, "DSP": 0.0}}
    report = {
        "family": "xcup",
        "top": "top",
        "total": {"LUT": 12.5, "DSP": 0.0},
        "modules": amounts,
        "part": None,
        "timing": None,
    }
    synthesized(json.dumps(report))(folder)
    found = Page(page(folder))
    leaves = [row for row in found.data("area", "modules") if row["parent"]]
    assert {row["module"]: row["amount"] for row in leaves} == {"top": 7.0, EVIL: 5.5}
    assert {row["resource"] for row in leaves} == {"LUT (xcup)"}  # nothing is drawn of a resource that nobody takes
    assert EVIL in found.text and found.handlers == []


def test_passes_of_mlir_belong_to_the_level_around_them():
    names = ("gradcam-quantize", "fuse-epilogues", "cse", "convert-affine-to-hw", "cse", "lower-seq-to-sv", "cse")
    rows = level_rows([PassTime(name, 0.5) for name in names])
    assert [[time.name for time in row.passes] for row in rows] == [
        ["gradcam-quantize"],
        ["fuse-epilogues", "cse"],
        ["convert-affine-to-hw", "cse"],
        ["lower-seq-to-sv", "cse"],
    ]
    assert [row.seconds for row in rows] == [0.5, 1.0, 1.0, 1.0]


def test_the_chart_library_is_the_one_of_the_pinned_version():
    reason = "vl-convert-python, which has the chart library, is not installed"
    library = pytest.importorskip("vl_convert", reason=reason)
    assert static("vega.js") == library.javascript_bundle()
