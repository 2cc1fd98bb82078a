"""Small texts for preparation, the tokenizer that knows their words, and stores read back."""

import filecmp
import json
from pathlib import Path
from string import ascii_lowercase, punctuation

import numpy as np

from unmask.data.store import Store
from unmask.text.kinds.wordpiece import SPECIAL, WordPiece, describe
from unmask.text.tokenizer import Tokenizer

DOCUMENTS = [
    ["The quick fox jumped over the fence. The lazy dog looked over the river."],
    ["The brown bear walked over the fence.", "The horse jumped. The fox looked. A dog walked."],
    ["The lazy horse looked over the river. The quick bear jumped over the river."],
]
"""Paragraphs of each document."""


def small_tokenizer() -> Tokenizer:
    """Know the words of the documents, and of all others the letters."""
    text = " ".join(paragraph for document in DOCUMENTS for paragraph in document)
    words = sorted(set(text.lower().replace(".", "").split()))
    letters = [mark + letter for mark in ("", "##") for letter in ascii_lowercase + "0123456789"]
    return WordPiece(
        describe([*dict.fromkeys([*SPECIAL, *words, *letters, *punctuation])], cased=False)
    )


def write_corpus(path: Path, documents: int) -> Path:
    """Write a file of many documents, all of them different."""
    lines = [f"The {i} dogs walked over the fence. The fox looked.\n\n" for i in range(documents)]
    path.write_text("".join(lines))
    return path


def as_txt(documents: list[list[str]]) -> str:
    return "\n\n".join("\n".join(paragraphs) for paragraphs in documents) + "\n"


def as_jsonl(documents: list[list[str]]) -> str:
    return "".join(json.dumps({"text": "\n".join(p)}) + "\n" for p in documents)


def sentences_of(store: Path) -> list[list[str]]:
    """Read a store back: the words of each sentence of each document."""
    opened, words = Store.open(store), Tokenizer.load(store / "tokenizer")
    ids = opened.take(np.arange(opened.tokens_total))
    sentences = [
        words.decode(ids[start:stop].tolist())
        for start, stop in zip(opened.sentence_starts, opened.sentence_starts[1:], strict=False)
    ]
    bounds = zip(opened.document_starts, opened.document_starts[1:], strict=False)
    return [sentences[start:stop] for start, stop in bounds]


def assert_same_files(one: Path, other: Path) -> None:
    """Compare two folders byte by byte."""
    names = [
        sorted(str(p.relative_to(f)) for f_ in [f] for p in f_.rglob("*")) for f in (one, other)
    ]
    assert names[0] == names[1]
    files = [name for name in names[0] if (one / name).is_file()]
    assert filecmp.cmpfiles(one, other, files, shallow=False) == (files, [], [])
