"""Rows come out of every format as they went in, and what is wrong is said by its place."""

import csv
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from unmask.errors import UserError
from unmask.text.rows import read_rows

ROWS = [{"id": "1", "text": 'A "b" [MASK]'}, {"id": "2", "text": "ü, ß"}, {"id": "3", "text": ""}]
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def write(path: Path, rows: list[dict[str, str]]) -> None:
    kind = path.suffixes[0]
    if kind == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
        return
    if kind == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        data = path.read_bytes()
    elif kind == ".tsv":
        data = "\n".join(["id\ttext", *(f"{row['id']}\t{row['text']}" for row in rows)]).encode()
    elif kind == ".jsonl":
        data = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    else:
        data = "".join(row["text"] + "\r\n" for row in rows).encode()
    path.write_bytes(PACK[path.suffixes[1] if len(path.suffixes) > 1 else ""](data))


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("kind", [".jsonl", ".csv", ".tsv", ".txt", ".parquet"])
def test_rows_come_out_as_they_went_in(tmp_path: Path, kind: str, packing: str) -> None:
    path = tmp_path / f"rows{kind}{packing if kind != '.parquet' else ''}"
    write(path, ROWS)
    rows = list(read_rows(str(path), "text"))
    wanted: list[dict[str, Any]] = [dict(row) for row in ROWS]
    if kind == ".txt":
        wanted = [{"text": row["text"]} for row in ROWS]
    assert [row.fields for row in rows] == wanted
    assert [row.text("text") for row in rows] == [row["text"] for row in ROWS]
    assert rows[-1].done == (None if path.suffix == packing != "" else 1.0)


def test_a_csv_field_over_two_lines_keeps_the_place_of_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,n\n"one\ntwo",1\nthree\nfour,4\n')
    rows = list(read_rows(str(path)))
    assert rows[0].fields == {"text": "one\ntwo", "n": "1"}
    assert rows[0].place.endswith("a.csv, line 2")
    assert rows[1].place.endswith("a.csv, line 4")
    assert rows[1].error == "1 columns, but the header has 2"
    assert rows[2].text("text") == "four"


@pytest.mark.parametrize(
    ("name", "data", "part"),
    [
        ("a.txt", b"fine\nb\xe9d\n", "a.txt, byte 6: not UTF-8 (0xE9)"),
        ("a.txt.gz", gzip.compress(b"x" * 99, mtime=0)[:-9], "a.txt.gz: damaged"),
        ("a.txt.xz", lzma.compress(b"x" * 99)[:-9], "a.txt.xz: damaged"),
        ("a.txt.zst", b"nothing", "a.txt.zst: damaged"),
        ("a.csv", b"text,text\n1,2\n", "a.csv, line 1: a header needs"),
        ("a.csv", b"text\rone\rtwo\r", "a.csv, line 1: no line of a table (new-line character"),
        ("a.parquet", b"nothing", "a.parquet: damaged"),
        ("a.doc", b"", "give .txt, .jsonl"),
        ("absent/b.txt", None, "absent/b.txt: no such file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, data: bytes | None, part: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        list(read_rows(str(tmp_path / name)))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"sentence": "x"}', "a.jsonl, line 2: no field 'text', only 'sentence'"),
        ('{"text": 3}', "line 2: text is 3, not a text"),
        ("[1]", "line 2: not a JSON object"),
        ("{", "line 2: not JSON"),
        ('{"text": "half of \\ud83d"}', "line 2: not JSON in Unicode"),
    ],
)
def test_a_bad_row_says_so_and_the_next_is_read(tmp_path: Path, line: str, part: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n' + line + '\n{"text": "\\ud83d\\ude00"}\n')
    one, bad, three = read_rows(str(path))
    assert (one.text("text"), three.text("text")) == ("one", "😀")
    with pytest.raises(UserError) as caught:
        bad.text("text")
    assert part in str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_stray_carriage_return_spoils_its_row_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"text\none\nt\rwo\nthree\n")
    one, bad, three = read_rows(str(path))
    assert (one.text("text"), three.text("text")) == ("one", "three")
    with pytest.raises(UserError, match="line 3: no line of a table"):
        bad.text("text")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("\ufefftext\n\ufeffkept\n".encode())
    assert [row.fields for row in read_rows(str(path))] == [{"text": "\ufeffkept"}]
