"""Text in: every format and compression gives the same pieces, and bad input is named."""

import gzip
import json
import lzma
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import UserError
from unmask.text import formats, opening
from unmask.text.opening import Part
from unmask.text.reading import TextFile, expand, read

NOISE = random.Random(0).randbytes(999)  # the same in every process, as names of tests must be
DOCUMENTS = [["One. Two.", "Дважды два."], ["犬"], ["The end, 😀."]]

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


def write_parquet(path: Path, texts: list[str | None], **options: int) -> None:
    pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, **options)


def encoded(form: str, folder: Path) -> bytes:
    texts = ["\n".join(paragraphs) for paragraphs in DOCUMENTS]
    if form == ".txt":
        return "\n\n".join(texts).encode()
    if form == ".jsonl":
        return "".join(json.dumps({"id": 1, "text": text}) + "\n" for text in texts).encode()
    write_parquet(folder / "table", texts)
    return (folder / "table").read_bytes()


def file(path: Path, content: bytes) -> TextFile:
    path.write_bytes(content)
    return TextFile(str(path), len(content))


def documents(source: TextFile, errors: str = "strict", *parts: Part) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for part in parts or [Part()]:
        for piece in read(source, errors, part):
            assert piece.size == len(piece.text.encode())
            found[-1].append(piece.text)
            if piece.ends_document:
                found.append([])
    assert found.pop() == [], "the last piece ends its document"
    return found


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read seven bytes at once, so that every character and line is cut somewhere."""
    monkeypatch.setattr(opening, "BLOCK", 7)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("form", [".txt", ".jsonl", ".parquet"])
def test_every_form_gives_the_same_documents(tmp_path: Path, form: str, compression: str) -> None:
    content = COMPRESS[compression](encoded(form, tmp_path))
    assert documents(file(tmp_path / f"a{form}{compression}", content)) == DOCUMENTS


@pytest.mark.parametrize("form", [".txt", ".jsonl"])
def test_blocks_do_not_matter(tmp_path: Path, form: str, small_blocks: None) -> None:
    assert documents(file(tmp_path / f"a{form}", encoded(form, tmp_path))) == DOCUMENTS


def test_plain_text_is_cut_at_blank_lines_however_lines_end(
    tmp_path: Path, small_blocks: None
) -> None:
    content = b"\xef\xbb\xbf\r\n \t\r\nA b\r\nc\r\n\r\n\r\n  d  \r\r\re\rf"
    assert documents(file(tmp_path / "a.txt", content)) == [["A b", "c"], ["d"], ["e", "f"]]


def test_rows_keep_their_paragraphs_and_the_empty_ones_their_place(tmp_path: Path) -> None:
    rows = [{"text": "a\r\n\r\n b\rc"}, {"text": ""}, {"text": None}, {"text": " \n "}]
    lines = "\ufeff" + "\n\n".join(map(json.dumps, rows))
    expected = [["a", "b", "c"], [""], [""], [""]]
    assert documents(file(tmp_path / "a.jsonl", lines.encode())) == expected
    write_parquet(tmp_path / "a.parquet", [row["text"] for row in rows])
    assert documents(*expand([str(tmp_path / "a.parquet")])) == expected


def test_nuls_and_control_characters_survive(tmp_path: Path) -> None:
    text = "a\x00b \x01\x7f\x85\u2028c"
    assert documents(file(tmp_path / "a.txt", text.encode())) == [[text]]
    row = json.dumps({"text": text}).encode()
    assert documents(file(tmp_path / "a.jsonl", row)) == [[text]]


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.xz", ".jsonl.zst", ".parquet"])
def test_an_empty_file_has_no_pieces(tmp_path: Path, suffix: str) -> None:
    assert documents(file(tmp_path / f"a{suffix}", b"")) == []
    blank = COMPRESS["." + suffix.split(".")[2] if suffix.count(".") > 1 else ""](b" \n\n")
    if suffix != ".parquet":
        assert documents(file(tmp_path / f"b{suffix}", blank)) == []


@given(st.text(st.sampled_from("ab é😀\n\r \t"), max_size=60), st.integers(1, 9))
def test_long_lines_come_in_parts_that_blocks_do_not_change(text: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "LONGEST", 8)
        fsspec.filesystem("memory").pipe("/long.txt", text.encode())
        source = TextFile("memory://long.txt", len(text.encode()))
        whole = list(read(source))
        patch.setattr(opening, "BLOCK", block)
        assert list(read(source)) == whole
    assert all(0 < piece.size <= 8 and piece.text == piece.text.strip() for piece in whole)
    assert "".join("".join(piece.text.split()) for piece in whole) == "".join(text.split())


def test_long_lines_are_cut_at_white_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "LONGEST", 8)
    source = file(
        tmp_path / "a.txt", "aa bb cc dd\nabcdefghijk\nааааа\n\nx       y       \nz".encode()
    )
    assert documents(source) == [
        ["aa bb", "cc dd", "abcdefgh", "ijk", "аааа", "а"],
        ["x", "y", "z"],
    ]


def test_one_line_of_200_megabytes_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    with path.open("wb") as stream:
        for _ in range(200):
            stream.write(b"some words in a line that does not end " * 25_641)
    script = (
        "import resource, sys; from unmask.text.reading import TextFile, read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sizes = [p.size for p in read(TextFile(sys.argv[1], 200_000_000))]\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(sum(sizes), max(sizes), after - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    total, longest, kilobytes = map(int, done.stdout.split())
    assert total > 199_990_000
    assert longest <= 1 << 20
    assert kilobytes < 50_000


def test_parts_of_a_file_give_what_the_whole_gives(tmp_path: Path, small_blocks: None) -> None:
    for form, first in ((".txt", 2), (".jsonl", 1)):
        content = encoded(form, tmp_path)
        cut = content.index(b"\n" * first) + first
        source = file(tmp_path / f"a{form}", content)
        assert documents(source, "strict", Part(0, cut), Part(cut, None, first)) == DOCUMENTS
        assert documents(source, "strict", Part(0, cut)) == DOCUMENTS[:1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xc3\xa9 \xe9t\xc3\xa9", r"a\.txt, byte 6: not UTF-8 \(0xE9\)\. Save the"),
        (
            "a.txt.gz",
            gzip.compress(b"x" * 81_220 + b"\xe9", mtime=0),
            r"a\.txt\.gz, byte 81,220: not UTF",
        ),
        ("a.txt", "cut short: é".encode()[:-1], r"byte 11: not UTF-8 \(0xC3\)"),
        ("a.txt", "ab\n".encode("utf-16"), r"byte 0: not UTF-8 \(0xFF\).*--errors replace"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}', r"a\.jsonl, byte 24: not UTF-8 \(0xFF\)"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", b"[" * 200_000, r"a\.jsonl, line 1: not JSON"),
        ("a.jsonl", b'["text"]', r"line 1: not a JSON object"),
        ("a.jsonl", b'{"id": 1, "body": "b"}', r"line 1: no field `text` \(found id, body\)"),
        ("a.jsonl", b'\n{"text": 7}', r"line 2: `text` is int, not a string"),
        ("a.jsonl", b'{"text": "\\ud83d"}', r"line 1: \\ud83d is half a character.*replace"),
        ("a.txt.gz", gzip.compress(NOISE, mtime=0)[:-9], r"a\.txt\.gz: damaged \(Compressed file"),
        ("a.txt.gz", b"no gzip at all", r"a\.txt\.gz: damaged \(Not a gzipped file"),
        ("a.txt.xz", lzma.compress(NOISE)[:-9], r"a\.txt\.xz: damaged"),
        ("a.txt.xz", b"no xz at all", r"a\.txt\.xz: damaged"),
        ("a.txt.zst", zstandard.compress(NOISE)[:-9], r"a\.txt\.zst: damaged \(Trunc"),
        ("a.txt.zst", b"no zst at all", r"a\.txt\.zst: damaged"),
        ("a.parquet", b"PAR1 no parquet PAR1", r"a\.parquet: damaged"),
        ("a.parquet.gz", gzip.compress(b"PAR1", mtime=0)[:-5], r"a\.parquet\.gz: damaged"),
    ],
)
def test_bad_content_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(read(file(tmp_path / name, content)))


@pytest.mark.parametrize("block", [1, 2, 3, 64])
def test_the_offset_of_a_bad_byte_does_not_depend_on_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(opening, "BLOCK", block)
    source = file(tmp_path / "a.txt", b"\xef\xbb\xbf\xe7\x8a\xac ok\n\xe7\x8a!")
    with pytest.raises(UserError, match=r"byte 10: not UTF-8 \(0xE7\)"):
        list(read(source))
    with pytest.raises(UserError, match=r"byte 10: not UTF-8 \(0xE7\)"):
        list(read(source, "strict", Part(10)))
    assert documents(source, "replace") == [["犬 ok", "\ufffd!"]]


def test_undecodable_text_can_be_replaced(tmp_path: Path) -> None:
    row = b'{"text": "a\xff \\ud83d\\ude00 \\ud83d"}'
    assert documents(file(tmp_path / "a.jsonl", row), "replace") == [["a\ufffd 😀 \ufffd"]]
    texts = pa.array([b"fine", b"a\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    source = TextFile(str(tmp_path / "a.parquet"), 1)
    assert documents(source, "replace") == [["fine"], ["a\ufffd"]]
    with pytest.raises(UserError, match=r"a\.parquet, row 2, byte 1 of its text: not UTF-8"):
        list(read(source))


def test_too_large_rows_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "LARGEST", 1000)
    rows = b'{"text": "short"}\n{"text": "' + b"a" * 990 + b'"}\n'
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: the row is above"):
        list(read(file(tmp_path / "a.jsonl", rows)))
    write_parquet(tmp_path / "a.parquet", ["ab", NOISE.hex()], row_group_size=1)
    with pytest.raises(UserError, match=r"a\.parquet, row group 2: its text takes"):
        list(read(TextFile(str(tmp_path / "a.parquet"), 1)))


def test_the_column_of_a_table_must_be_text(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["a"]}), path)
    with pytest.raises(UserError, match=r"no column `text` \(found body\)"):
        list(read(TextFile(str(path), 1)))
    pq.write_table(pa.table({"text": [1]}), path)
    with pytest.raises(UserError, match=r"the column `text` is int64, not string"):
        list(read(TextFile(str(path), 1)))
    pq.write_table(pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()}), path)
    assert documents(TextFile(str(path), 1)) == [["a"], ["b"], ["a"]]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a/c.jsonl.gz", "a/d/e.parquet", "a/notes.md", "a/.f.txt", "g[1].txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"text")
    return tmp_path


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["b.txt"], ["b.txt"]),
        (["a"], ["a/c.jsonl.gz", "a/d/e.parquet"]),
        (["."], ["a/c.jsonl.gz", "a/d/e.parquet", "b.txt", "g[1].txt"]),
        (["b.txt", "a", "./b.txt", "a/d"], ["a/c.jsonl.gz", "a/d/e.parquet", "b.txt"]),
        (["*.txt"], ["b.txt", "g[1].txt"]),
        (["a/**/*.parquet"], ["a/d/e.parquet"]),
        (["g[1].txt"], ["g[1].txt"]),
    ],
)
def test_files_folders_and_globs(tree: Path, texts: list[str], found: list[str]) -> None:
    assert expand(texts) == [TextFile(path, 4) for path in found]


def test_urls(tree: Path) -> None:
    outside = str(tree / "a" / "d")
    assert [f.path for f in expand([f"file://{outside}"])] == [f"file://{outside}/e.parquet"]
    memory = fsspec.filesystem("memory")
    memory.pipe("/corpus/x.txt", b"one\n\ntwo")
    memory.pipe("/corpus/y/z.txt.gz", gzip.compress(b"three"))
    for text in ("memory://corpus", "memory://corpus/**/*.t*"):
        files = expand([text])
        assert [f.path for f in files] == ["memory:///corpus/x.txt", "memory:///corpus/y/z.txt.gz"]
        assert [documents(f) for f in files] == [[["one"], ["two"]], [["three"]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.txt", r"missing\.txt: no text found there"),
        ("nothing/*.txt", r"nothing/\*\.txt: no text found there"),
        ("a/notes.md", r"a/notes\.md: not of a format that is read.*\.jsonl"),
        ("a/*", r"a/notes\.md: not of a format"),
        ("nowhere://x.txt", r"nowhere://x\.txt: cannot be looked up \(Protocol not known"),
        ("a/**.txt", r"a/\*\*\.txt: cannot be looked up \(Invalid pattern"),
    ],
)
def test_what_cannot_be_found_is_named(tree: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        expand([text])


def test_a_folder_without_text_is_named(tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no text found there"):
        expand(["empty", "b.txt"])


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.txt: no such file"):
        list(read(TextFile(str(tmp_path / "gone.txt"), 5)))
