"""Corpus preparation: what is in the store, and every bad input by its message."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora import (
    DOCUMENTS,
    as_jsonl,
    as_txt,
    assert_same_files,
    sentences_of,
    write_corpus,
)
from unmask.data import plan
from unmask.data.plan import WORK
from unmask.data.prepare import prepare
from unmask.data.store import Store
from unmask.errors import UserError
from unmask.text.reading import TextFile, read
from unmask.text.scanning import scan


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.txt", 300)


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut texts of a few kilobytes into several tasks."""
    monkeypatch.setattr(plan, "SMALLEST", 2000)


# What is in the store


def test_sentences_are_in_the_store_in_order(finished: Path) -> None:
    assert sentences_of(finished / "store") == [
        ["the quick fox jumped over the fence.", "the lazy dog looked over the river."],
        [
            "the brown bear walked over the fence.",
            "the horse jumped.",
            "the fox looked.",
            "a dog walked.",
        ],
        [
            "the lazy horse looked over the river.",
            "the quick bear jumped over the river.",
        ],
    ]
    assert not (finished / "store" / WORK).exists()
    Store.open(finished / "store").verify()


@pytest.mark.parametrize("name", ["text.jsonl", "text.txt.gz"])
def test_every_form_of_a_text_gives_the_same_tokens(
    name: str, finished: Path, tokenizer: Path, tmp_path: Path
) -> None:
    text = as_jsonl(DOCUMENTS) if name.endswith("jsonl") else as_txt(DOCUMENTS)
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    prepared = prepare([str(tmp_path / name)], tokenizer=tokenizer, out=tmp_path / "store")
    assert prepared.bytes == sum(len(p) for paragraphs in DOCUMENTS for p in paragraphs)
    assert sentences_of(tmp_path / "store") == sentences_of(finished / "store")
    fingerprints = {Store.open(f / "store").fingerprint for f in (tmp_path, finished)}
    assert len(fingerprints) == 2  # it names the files' bytes, not the text in them


@pytest.mark.usefixtures("small_tasks")
def test_the_number_of_workers_changes_nothing(
    corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    with gzip.open(tmp_path / "more.txt.gz", "wb") as more:
        more.write(corpus.read_bytes())
    texts = [str(corpus), str(tmp_path / "more.txt.gz")]
    for workers in (1, 2):
        prepare(texts, tokenizer=tokenizer, out=tmp_path / f"store{workers}", workers=workers)
    assert_same_files(tmp_path / "store1", tmp_path / "store2")
    store = Store.open(tmp_path / "store1")
    assert len(store.manifest["shards"]) > 4
    assert store.documents_total == 600


@pytest.mark.usefixtures("small_tasks")
def test_a_long_line_is_one_document(tokenizer: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("fox " * 400_000 + "\n\nThe dog.\n")
    prepared = prepare([str(path)], tokenizer=tokenizer, out=tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert prepared.documents == 2
    assert prepared.tokens == 400_000 + 3
    assert np.diff(store.document_starts).tolist() == [2, 1]  # the line comes in two parts


def test_python_and_command_line_give_the_same(
    finished: Path, tokenizer: Path, tmp_path: Path
) -> None:
    text, out = finished / "text.txt", tmp_path / "store"
    command = ["prepare", str(text), "--tokenizer", str(tokenizer), "--out", str(out), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "unmask.cli", *command], capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    assert result["documents"] == 3
    assert result["sentences"] == 8
    assert result.keys() >= {"documents", "sentences", "tokens", "bytes", "seconds"}
    assert "3 documents, 8 sentences" in done.stderr
    assert len(done.stderr.splitlines()) == 1  # nothing of datatrove's own logs
    assert_same_files(out, finished / "store")


def test_torch_is_never_loaded() -> None:
    code = "import sys, unmask.data.local, unmask.data.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The parts of a file


@given(
    lines=st.lists(
        st.sampled_from(["", " \t", "The fox.", "A dog walked.\r", "é" * 9]), max_size=40
    ),
    size=st.integers(1, 60),
)
def test_parts_give_what_the_whole_file_gives(
    lines: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("parts") / "text.txt"
    path.write_bytes("\n".join(lines).encode())
    file = TextFile(str(path), path.stat().st_size)
    parts = scan(file.path, size).parts
    assert [piece for part in parts for piece in read(file, part=part)] == list(read(file))
    assert [part.stop for part in parts[:-1]] == [part.start for part in parts[1:]]
    if "The fox.\n\n" * 3 in "\n".join(lines) and size < 10:
        assert len(parts) > 1


def test_rows_are_cut_between_lines_and_numbered_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(as_jsonl(DOCUMENTS * 9) + '{"no": "text"}\n')
    file = TextFile(str(path), path.stat().st_size)
    parts = scan(file.path, 300).parts
    assert len(parts) > 5
    whole = [piece for part in parts[:-1] for piece in read(file, part=part)]
    assert sum(piece.ends_document for piece in whole) == parts[-1].lines
    with pytest.raises(UserError, match="line 28"):
        list(read(file, part=parts[-1]))


def test_compressed_files_are_read_as_one_part(tmp_path: Path) -> None:
    path = tmp_path / "text.txt.gz"
    path.write_bytes(gzip.compress(as_txt(DOCUMENTS * 99).encode()))
    assert len(scan(str(path), 10).parts) == 1


# Bad input


def test_an_undecodable_byte_is_named_from_within_a_worker(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALLEST", 5000)
    content = bytearray(corpus.read_bytes())
    content[12_345] = 0xE9
    corpus.write_bytes(content)
    with pytest.raises(UserError, match=r"corpus\.txt, byte 12,345: not UTF-8 \(0xE9\)") as caught:
        prepare([str(corpus)], tokenizer=tokenizer, out=tmp_path / "store")
    assert "\n" not in str(caught.value)
    # The remedy that the message names works in the same folder.
    out = tmp_path / "store"
    prepared = prepare([str(corpus)], tokenizer=tokenizer, out=out, errors="replace")
    assert prepared.documents == 300
    with pytest.raises(UserError, match="--errors replace"):
        prepare([str(corpus)], tokenizer=tokenizer, out=out)


def test_what_is_odd_is_counted_and_said(
    tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_bytes(b"")
    (texts / "b.txt").write_bytes(b"\n \n\n")
    (texts / "c.txt").write_bytes(b"The f\x00ox. The\x01 dog.\n\n\x7f\n\nThe bear looked.\n")
    (texts / "d.jsonl").write_text('{"text": ""}\n{"text": null}\n{"text": "The dog. The fox."}\n')
    prepared = prepare([str(texts)], tokenizer=tokenizer, out=tmp_path / "store")
    assert (prepared.empty_files, prepared.empty_documents) == (2, 3)
    assert (prepared.control_characters, prepared.lone_sentences) == (3, 1)
    assert sentences_of(tmp_path / "store") == [
        ["the fox.", "the dog."],
        ["the bear looked."],
        ["the dog.", "the fox."],
    ]
    said = capsys.readouterr()
    assert not said.out
    for warning in (
        "empty files: 2",
        "empty documents, left out: 3",
        "control characters, left out: 3",
    ):
        assert f"warning: {warning}" in said.err


def test_a_single_document_is_warned_of(
    tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.txt").write_text("The fox. The dog.\n")
    prepare([str(tmp_path / "one.txt")], tokenizer=tokenizer, out=tmp_path / "store")
    assert "next-sentence prediction needs two" in capsys.readouterr().err


def test_a_full_disk_is_named_and_the_run_goes_on_later(
    finished: Path, tokenizer: Path, tmp_path: Path
) -> None:
    out, text = tmp_path / "store", str(finished / "text.txt")
    full = out / WORK / "stats" / "00000.json"
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"store: the disk is full; .* MB.* goes on where it was"):
        prepare([text], tokenizer=tokenizer, out=out)
    full.unlink()
    prepare([text], tokenizer=tokenizer, out=out)
    assert_same_files(out, finished / "store")


def test_text_that_is_not_there_or_holds_nothing(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.txt"):
        prepare([str(tmp_path / "missing.txt")], tokenizer=tokenizer, out=tmp_path / "store")
    assert not (tmp_path / "store").exists()
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="no text"):
        prepare([str(tmp_path / "empty.txt")], tokenizer=tokenizer, out=tmp_path / "store")
    with pytest.raises(UserError, match="--workers 0"):
        prepare(["x"], tokenizer=tokenizer, out=tmp_path / "store", workers=0)
