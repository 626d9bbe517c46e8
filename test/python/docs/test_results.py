"""docs/results.md: its tables have the rows of the demonstration and the benchmarks, and the README says the same."""

import re

import target_layers
from documents import Document
from measures import GOOD

from gradcam.demonstration import FILES
from gradcam.figures import figures

RESULTS, README = Document("docs/results.md"), Document("README.md")
NUMBER = re.compile(r"\d(?:[\d,.]*\d)?(?:x\d+)?")


def first_cells(document):
    return [line.split("|")[1].strip() for line in document.text.splitlines() if line.startswith("|")]


def contradictions(readme):
    """Numbers in the README's table of results that the document of all results does not have."""
    section = readme.partition("\n## Results\n")[2].partition("\n## ")[0]
    found = {number for line in section.splitlines() if line[:1] == "|" for number in NUMBER.findall(line)}
    assert len(found) > 15
    return sorted(found - set(NUMBER.findall(RESULTS.text)))


def test_the_table_has_the_rows_of_the_demonstration():
    """The names of the rows only: their figures were measured on one machine."""
    rows = [row.what for row in figures(GOOD) if "8x8" not in row.what and "pointing" not in row.what]
    listed = [line.split("|")[1].strip() for line in RESULTS.text.splitlines() if re.match(r"\| .* \| yes \|$", line)]
    assert [row for row in rows if row not in listed] == []


def test_every_target_layer_of_the_benchmark_has_a_row():
    assert set(target_layers.TARGETS) <= set(first_cells(RESULTS))


def test_the_readme_says_what_the_results_say():
    assert contradictions(README.text) == []


def test_another_number_in_the_readme_is_found():
    (number,) = re.findall(r"equal in every phase: ([\d,]+)", README.text)
    other = f"{number[:-1]}{(int(number[-1]) + 1) % 10}"
    assert contradictions(README.text.replace(number, other)) == [other]


def test_the_readme_names_what_the_demonstration_writes():
    assert [name for name in FILES if f"`{name}" not in README.text] == []
