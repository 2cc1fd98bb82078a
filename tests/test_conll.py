"""Columns of words are read as sentences, by their places; and their labels brought to IOB2."""

import gzip
import lzma
from pathlib import Path

import pytest
import zstandard

from unmask.errors import UserError
from unmask.text import conll
from unmask.text.conll import read_conll
from unmask.text.iob import grouped, iob2

TEXT = """-DOCSTART- -X- O

EU NNP B-ORG
rejects VBZ O
 \t
German JJ B-MISC


-DOCSTART- -X- O
call NN O"""
SENTENCES = [
    ("line 3", {"words": ["EU", "rejects"], "labels": ["B-ORG", "O"]}),
    ("line 6", {"words": ["German"], "labels": ["B-MISC"]}),
    ("line 10", {"words": ["call"], "labels": ["O"]}),
]
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def written(tmp_path: Path, text: str, name: str = "a.conll") -> str:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return str(path)


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sentences_are_read_with_their_places(tmp_path: Path, packing: str, end: str) -> None:
    path = tmp_path / f"a.txt{packing}"
    path.write_bytes(PACK[packing](TEXT.replace("\n", end).encode()))
    rows = list(read_conll(str(path)))
    assert [(row.place, row.fields) for row in rows] == [
        (f"{path}, {place}", fields) for place, fields in SENTENCES
    ]
    assert all(row.error is None for row in rows)
    assert rows[-1].done == (None if packing else 1.0)


def test_tabs_keep_blanks_in_a_word(tmp_path: Path) -> None:
    path = written(tmp_path, "New York\t_\tB-LOC\nis\tVBZ\tO\n")
    (row,) = read_conll(path)
    assert row.fields == {"words": ["New York", "is"], "labels": ["B-LOC", "O"]}


def test_one_column_has_no_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "EU\nrejects\n\ncalls\u00a0x\n")
    assert [row.fields for row in read_conll(path)] == [
        {"words": ["EU", "rejects"]},
        {"words": ["calls\u00a0x"]},
    ]


def test_an_uneven_line_is_named_and_the_next_sentence_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "a X O\nb X O\nc O\nd\n\ne X O\n")
    wrong, sound = read_conll(path)
    assert wrong.place == f"{path}, line 3"
    assert wrong.error == "uneven columns: here 2, but in line 1 3"
    assert wrong.fields == {}
    assert (sound.place, sound.error) == (f"{path}, line 6", None)


def test_the_header_of_a_table_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "Sentence\tlabel\na fine film\tpos\n", "a.tsv")
    with pytest.raises(UserError, match=r"a\.tsv, line 1: a header, 'Sentence' to 'label';"):
        list(read_conll(path))
    lowly = written(tmp_path, "the DT\nword NN\ntoken label\n")  # only as the first line
    assert [row.fields["labels"] for row in read_conll(lowly)] == [["DT", "NN", "label"]]


def test_a_file_without_blank_lines_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conll, "LONGEST", 3)
    path = written(tmp_path, "a O\n\n" + "b O\n" * 4)
    rows = read_conll(path)
    assert next(rows).fields["words"] == ["a"]
    with pytest.raises(UserError, match=r"a\.conll, line 3: a sentence of more than 3 words"):
        next(rows)


def test_an_empty_file_has_no_sentences(tmp_path: Path) -> None:
    assert list(read_conll(written(tmp_path, ""))) == []
    assert list(read_conll(written(tmp_path, "\n \n"))) == []


def test_bytes_that_are_not_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes(b"a O\nb\xe9 O\n")
    with pytest.raises(UserError, match=r"a\.conll, byte 5: not UTF-8 \(0xE9\)"):
        list(read_conll(str(path)))


def test_a_real_file_is_read(shared: Path) -> None:
    rows = list(read_conll(str(shared / "conll2000" / "test.txt.gz")))
    assert len(rows) == 2012
    assert sum(len(row.fields["words"]) for row in rows) == 47_377
    assert rows[1].fields["words"][:3] == ["Rockwell", "said", "the"]
    assert rows[1].fields["labels"][:3] == ["B-NP", "B-VP", "B-NP"]


# The same entities in each scheme: PER of one word, then another, LOC of three words, LOC of two.
SCHEMES = {
    "IOB1": "I-PER B-PER O I-LOC I-LOC I-LOC B-LOC I-LOC O I-PER",
    "IOB2": "B-PER B-PER O B-LOC I-LOC I-LOC B-LOC I-LOC O B-PER",
    "BIOES": "S-PER S-PER O B-LOC I-LOC E-LOC B-LOC E-LOC O S-PER",
    "BILOU": "U-PER U-PER O B-LOC I-LOC L-LOC B-LOC L-LOC O U-PER",
    "IOE2": "E-PER E-PER O I-LOC I-LOC E-LOC I-LOC E-LOC O E-PER",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_brought_to_iob2(scheme: str) -> None:
    assert " ".join(iob2(SCHEMES[scheme].split())) == SCHEMES["IOB2"]


def test_another_type_begins_another_entity() -> None:
    assert iob2(["I-A", "I-B", "I-B", "I-B-C"]) == ("B-A", "B-B", "I-B", "B-B-C")


def test_plain_labels_stay() -> None:
    assert iob2(["NN", "I-x", "O"]) == ("NN", "I-x", "O")
    assert iob2([]) == ()


def test_neighbours_of_a_type_are_one_group() -> None:
    assert grouped(["O", "B-A", "I-A", "B-A", "O", "I-A", "I-B"]) == [
        ("A", [1, 2]),
        ("A", [3]),
        ("A", [5]),
        ("B", [6]),
    ]
    assert grouped(["NN", "NN", "O", "VB"]) == [("NN", [0, 1]), ("VB", [3])]
