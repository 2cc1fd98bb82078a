"""Byte-level BPE: the blank before a word is part of its piece, wherever the word is read alone."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from unmask import prepare, train_tokenizer
from unmask.data.store import Store
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.tasks.fill import Cloze, MaskFilling
from unmask.tasks.tag import LabelledWords, Tagging
from unmask.text.kinds.byte_bpe import SPECIAL, describe
from unmask.text.tokenizer import Tokenizer

TEXT = "The old dog sleeps. Two foxes run away. The zoo is old.\n\nFoxes dig. The dog digs, too."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a tokenizer trained on it."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "a.txt").write_text(TEXT + "\n" + TEXT, "utf-8")
    train_tokenizer([str(folder / "a.txt")], out=folder / "words", kind="byte-bpe", vocab_size=320)
    return folder


def test_a_store_holds_the_text_as_it_is_written(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder / "words")
    (folder / "b.txt").write_text(TEXT, "utf-8")
    prepare([str(folder / "b.txt")], tokenizer=folder / "words", out=folder / "store")
    store = Store.open(folder / "store")
    starts = store.sentence_starts[store.document_starts]
    documents = [
        tokenizer.decode(store.take(np.arange(start, end)).tolist())
        for start, end in pairwise(starts)
    ]
    assert documents == TEXT.split("\n\n")
    assert store.sentences_total == 5


def test_tagged_words_are_read_as_in_their_text(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder / "words")
    spans = ((0, 3), (4, 7), (8, 11))
    record = LabelledWords(place="", text="The old dog", spans=spans, label=("O", "O", "B-A"))
    task = Tagging(reading=Reading(length=64), labels=("O", "B-A"))
    ((window,),) = task.windows([record], tokenizer)
    assert tokenizer.decode(window.ids[1:-1].tolist()) == "The old dog"


def test_a_word_behind_a_mask_has_the_blank_before_it(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder / "words")
    for text, word, expected in (
        ("Two [MASK] run", "foxes", " foxes"),
        ("[MASK] dog", "The", "The"),
    ):
        record = Cloze(place="", text=text, label=(word,))
        ((window,),) = MaskFilling(reading=Reading(length=64)).windows([record], tokenizer)
        assert tokenizer.decode(list(window.target)) == expected


@pytest.mark.parametrize("lines", ["#version: 0.2\n", ""])
def test_published_files_may_begin_with_a_version(tmp_path: Path, lines: str) -> None:
    pieces = [*SPECIAL, "Ġ", "a", "b", "Ġa", "ab"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text(lines + "Ġ a\na b\n")
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("ab a").tokens == ["ab", "Ġa"]
    assert (
        tokenizer.fingerprint
        == type(tokenizer)(describe(vocabulary, [["Ġ", "a"], ["a", "b"]])).fingerprint
    )
    (tmp_path / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    assert Tokenizer.load(tmp_path).encode("ab a").tokens == ["Ġa", "b", "Ġa"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    document = describe({piece: i for i, piece in enumerate([*SPECIAL, "a"])}, [])
    changed = {**document, "pre_tokenizer": {"type": "Whitespace"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"json: the pre-tokenizer is Whitespace, not ByteLevel"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text('{"Ġ": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "<unk>": 4}')
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(UserError, match=r"vocab\.json: the vocabulary lacks <mask>\."):
        Tokenizer.load(tmp_path)
