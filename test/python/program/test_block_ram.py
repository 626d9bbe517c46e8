"""The memories that a bank is made of: their number, and that every word is found where the address says."""

import dataclasses

import numpy as np
import pytest
import rtl_networks
from rtl_checks import check_design

from gradcam.output import compile_to_folder
from gradcam.passes.program import block_ram
from gradcam.passes.program.banks import Bank
from gradcam.passes.program.block_ram import BlockRam, Part
from gradcam.passes.program.clock import DELAYS, Clock
from gradcam.passes.schedule import narrow_memories


def parts_of(family, words, bits, constant=True):
    return DELAYS[family].block.parts(words, bits, 1, constant, constant)


@pytest.mark.parametrize(
    ("family", "words", "bits", "parts", "number"),
    [
        ("xcup", 4096, 128, [Part(4096)], 15),  # 15 of 4096 x 9, but 16 of 2048 x 18 or 1024 x 36
        ("xcup", 2048, 2048, [Part(2048)], 114),
        # 114, and three times 14.5 of 512 x 1024; one memory of 1024 x 2048 would take 57 for the last words.
        ("xcup", 2735, 2048, [Part(2048), Part(687, 2)], 157.5),
        ("xcup", 740, 8192, [Part(740, 2)], 171),  # 228 in one memory
        ("xcup", 800, 8192, [Part(800)], 228),  # no three memories of 512 hold 800
        ("xcup", 2080, 36, [Part(2048), Part(32, style="registers")], 2),
        ("xcup", 64, 512, [Part(64, style="registers")], 0),
        ("xcup", 65, 512, [Part(65)], 7.5),
        ("ecp5", 4096, 128, [Part(2048)] * 2, 30),
        ("ecp5", 40000, 8, [Part(16384)] * 2 + [Part(7232)], 20),
    ],
)
def test_the_parts_of_a_bank(family, words, bits, parts, number):
    assert parts_of(family, words, bits) == tuple(parts)
    assert DELAYS[family].block.total(tuple(parts), bits) == number


def test_what_is_written_is_not_in_pieces():
    assert parts_of("xcup", 740, 8192, constant=False) == (Part(740),)
    assert parts_of("xcup", 64, 512, constant=False) == (Part(64, style="distributed"),)
    assert parts_of("xcup", 1, 512, constant=False) == (Part(1, style="registers"),)
    assert Clock().block == DELAYS["xcup"].block


def read(bank, images, address):
    """The word at an address, as the RTL chooses it: the memories that have its pieces, and the places there."""
    memories = {m.number: images[bank.image(m.number)] for m in bank.memories}
    numbers = iter(memories)
    for start, part in bank.starts:
        own = [memories[next(numbers)] for _ in part.memories]
        if not start <= address < start + part.words:
            continue
        segment, place = divmod(address - start, part.segment)
        found = {}
        for number, memory in enumerate(own):
            if where := part.place(number, segment):
                found[where[0]] = memory[where[1] * part.segment + place]
        return np.concatenate([found[piece] for piece in range(part.pieces)])
    raise AssertionError(address)


@pytest.mark.parametrize("parts", [(Part(11),), (Part(8), Part(3)), (Part(8), Part(11, 2)), (Part(17, 4), Part(1))])
def test_every_word_is_where_its_address_says(parts):
    count = sum(p.words for p in parts)
    words = np.arange(count * 8).reshape(count, 8)
    bank = Bank("weights", 8, 8, count, True, parts)
    images = bank.images(words)
    assert [len(images[bank.image(m.number)]) for m in bank.memories] == [m.words for m in bank.memories]
    for address in range(count):
        np.testing.assert_array_equal(read(bank, images, address), words[address])


def test_memories_of_a_bank_have_no_file_of_another_bank():
    weights, other = (Bank(name, 4, 8, 16, True, (Part(8), Part(8))) for name in ("weights", "weights1"))
    images = [bank.image(memory.number) for bank in (weights, other) for memory in bank.memories]
    alone = Bank("weights1", 4, 8, 4, constant=True)
    assert len({*images, *(alone.image(memory.number) for memory in alone.memories)}) == 5


@pytest.mark.parametrize(
    ("pieces", "few", "last"),
    # Behind 128 of 168 words of weights: three memories of 32 half words; five of 32 quarters; 32 and 8 words.
    [((2,), 0, (32, 8, "block")), ((4,), 0, (32, 4, "block")), ((), 8, (8, 16, "registers"))],
    ids=["halves", "quarters", "registers"],
)
def test_rtl_of_every_kind_of_part(pieces, few, last, monkeypatch, tmp_path):
    block = BlockRam(((32, 32, 1), (64, 18, 1)), few, luts=10**6 + sum(pieces))
    monkeypatch.setitem(DELAYS, "xcup", dataclasses.replace(DELAYS["xcup"], block=block))
    monkeypatch.setattr(block_ram, "PIECES", pieces)
    monkeypatch.setattr(narrow_memories, "MOST", 1)
    net = rtl_networks.sums()
    compile_to_folder(net, "test", net.settings("4x4"), tmp_path / "design")
    banks = check_design(net, tmp_path / "design").simulator.program.banks
    memory = banks["weights"].memories[-1]
    assert (memory.words, memory.lanes, memory.style) == last
    assert any(len(bank.parts) > 1 for bank in banks.values() if not bank.constant)
