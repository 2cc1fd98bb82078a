"""Files whose lines stand side by side."""

import gzip
import json
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.text.parallel import join, lines, sides


def write(path: Path, *texts: str) -> str:
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return str(path)


def test_lines_are_read_side_by_side_whatever_the_compression(tmp_path: Path) -> None:
    english = write(tmp_path / "a.en", "A dog.", "A cat. ")
    german = tmp_path / "a.de.gz"
    german.write_bytes(gzip.compress("Ein Hund.\nEine Kätzin.".encode()))
    assert list(lines([english, str(german)])) == [
        ("A dog.", "Ein Hund."),
        ("A cat.", "Eine Kätzin."),
    ]


def test_uneven_files_are_refused_with_both_counts(tmp_path: Path) -> None:
    english, german = write(tmp_path / "a.en", *"abc"), write(tmp_path / "a.de", *"abcde")
    with pytest.raises(UserError, match=r"a\.en has 3, .*a\.de has 5 lines"):
        list(lines([english, german]))
    with pytest.raises(UserError, match=r"a\.de has 5, .*a\.en has 3 lines"):
        list(lines([german, english]))


def test_what_is_wrong_with_a_file_is_said_of_that_file(tmp_path: Path) -> None:
    sound = write(tmp_path / "b.de", "Ein Hund.")
    (tmp_path / "a.en.gz").write_bytes(b"no gzip")
    broken = str(tmp_path / "a.en.gz")
    for paths in ([broken, sound], [sound, broken]):
        with pytest.raises(UserError, match=r"a\.en\.gz: damaged"):
            list(lines(paths))
    for path in (f"{sound},", f",{sound}"):
        with pytest.raises(UserError, match="names no file on one side of a comma"):
            sides(path)
    assert sides(f"{sound},{broken}") == (sound, broken)


def test_bytes_that_are_not_utf8_are_refused_by_line_or_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"fine\nbad \xff\n")
    with pytest.raises(UserError, match=r"a, line 2: not UTF-8 \(byte 5 of the line\)"):
        list(lines([str(tmp_path / "a")]))
    assert list(lines([str(tmp_path / "a")], "replace"))[1] == ("bad �",)


def test_rows_become_documents_of_a_sentence_each(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a", "one", "", "three"),
        write(tmp_path / "b", "eins", "zwei", "drei"),
    ]
    assert join(files, tmp_path / "out.jsonl", "strict") == 1
    rows = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(row)["text"] for row in rows] == ["one\neins", "three\ndrei"]


def test_blanks_and_marks_inside_a_line_are_one_blank(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufeffone\rtwo \t three\r\n".encode())
    assert list(lines([str(tmp_path / "a")])) == [("one two three",)]


def test_rows_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"b\.jsonl: several files side by side are plain text"):
        list(lines([str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")]))
