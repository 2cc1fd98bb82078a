"""WordPiece as BERT has it.

V pieces in the vocabulary. The text is cleaned of control characters, spaced around Chinese
characters and, where the vocabulary is uncased, put in lower case without accents; cut into words
and punctuation marks; and each word into the longest pieces that the vocabulary has, from the left.
A piece that continues a word is written with a leading `##`.

One thing differs from the original release (google-research/bert, tokenization.py), as it does in
every tokenizer made with the `tokenizers` library: a word of more than 100 characters becomes
[UNK]; there it may have 200.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import trainers

from unmask.errors import UserError
from unmask.text.sample import LONGEST_WORD, SEEN, Sample, alphabet
from unmask.text.template import BERT
from unmask.text.tokenizer import SPELLINGS, Tokenizer, build, special
from unmask.text.tokenizer_files import read_json, read_text
from unmask.verbs import TokenizerOptions

SPECIAL = tuple(SPELLINGS["bert"].tokens.values())
"""The special tokens, in the order in which a new vocabulary begins with them."""

CONTINUES = "##"
"""What a piece that continues a word begins with."""

REMEMBERED = 200_000
"""Words whose ids are remembered, some tens of megabytes of them."""

_MARKS = r"!-/:-@\[-`{-~\u2010-\u2027"
"""Punctuation marks that are common: each is a word by itself."""

_CHINESE = r"\u4e00-\u9fff"
"""Chinese characters that are common: so are these, where spaces are put around them."""


class WordPiece(Tokenizer):
    """A WordPiece vocabulary with BERT's cleaning; `describe` makes the document of a new one."""

    name = "wordpiece"
    model = "WordPiece"
    usual = SPELLINGS["bert"]
    smallest = 100

    def __init__(self, document: Mapping[str, Any], source: str = "tokenizer") -> None:
        _check(document, source)
        super().__init__(document, source)
        self._words = _Words(self._library)
        alone = _MARKS + _CHINESE * document["normalizer"]["handle_chinese_chars"]
        self._word = re.compile(f"[{alone}]|[^ {alone}]+")

    @classmethod
    def published(cls, folder: Path) -> "WordPiece | None":
        """Read `vocab.txt`.

        `do_lower_case` in a `tokenizer_config.json` beside it says whether it is uncased; where
        that is absent, a vocabulary with capital letters is cased.
        """
        plain, config = folder / "vocab.txt", folder / "tokenizer_config.json"
        if not plain.is_file():
            return None
        pieces = read_text(plain).removesuffix("\n").split("\n")
        lower = read_json(config).get("do_lower_case") if config.is_file() else None
        cased = _has_capitals(pieces) if lower is None else not lower
        return cls(describe(pieces, cased=cased), str(plain))

    @classmethod
    def train(cls, sample: Sample, options: TokenizerOptions) -> "WordPiece":
        """Make a new vocabulary of at most `vocab_size` entries, with or without case and accents.

        Behind the special tokens come the characters of the text, as they begin a word and as they
        continue one, then the pieces in the order in which they were merged.
        """
        size, cased = options.vocab_size, options.cased
        library = build({**describe(SPECIAL, cased=cased), "added_tokens": []})
        listed = alphabet(sample.characters(library.normalizer.normalize_str), size)
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=SEEN,
            special_tokens=[*SPECIAL, *listed, *(CONTINUES + character for character in listed)],
            initial_alphabet=listed,
            limit_alphabet=len(listed),
            continuing_subword_prefix=CONTINUES,
            show_progress=False,
        )
        library.train_from_iterator(sample.batches("Counting words"), trainer)
        ids = library.get_vocab(with_added_tokens=False)
        return cls(describe(sorted(ids, key=ids.__getitem__), cased=cased))

    def files(self) -> dict[str, str]:
        """Write the content of each file that is saved: `vocab.txt`, too."""
        files = super().files()
        files["vocab.txt"] = "".join(f"{piece}\n" for piece in self._pieces)
        if self.template != BERT:
            return files
        normalizer = self._document["normalizer"]
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer.get("strip_accents"),
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
            "model_max_length": 512,
            **{f"{role}_token": token for role, token in self._tokens.items()},
        }
        return {**files, "tokenizer_config.json": json.dumps(config, indent=2) + "\n"}

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of each text, fast: no special tokens, and a literal `[MASK]` is text."""
        if self._extra:  # such tokens may hold spaces and marks, so a text must be read as one
            return super().encode_batch(texts)
        ids, words = self._words.__getitem__, self._word.findall
        return [list(chain.from_iterable(map(ids, words(text)))) for text in texts]

    @classmethod
    def _continues(cls, piece: str) -> bool:
        return piece.startswith(CONTINUES)


KIND = WordPiece


class _Words(dict[str, list[int]]):
    """The ids of words that have come before, at most `REMEMBERED` of them.

    Most words of a text have, which makes this faster than the library by far.
    """

    def __init__(self, library: tokenizers.Tokenizer) -> None:
        super().__init__()
        self._library = library

    def __missing__(self, word: str) -> list[int]:
        ids: list[int] = self._library.encode(word, add_special_tokens=False).ids
        if len(word) <= LONGEST_WORD:
            if len(self) >= REMEMBERED:
                self.clear()
            self[word] = ids
        return ids


def describe(pieces: Sequence[str], *, cased: bool) -> dict[str, Any]:
    """Make the content of a `tokenizer.json` for a vocabulary in the order of its ids."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    roles = SPELLINGS["bert"].tokens
    known = {role: ids[token] for role, token in roles.items() if token in ids}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special(SPECIAL, ids),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": not cased,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": BERT.processor(roles, known),
        "decoder": {"type": "WordPiece", "prefix": CONTINUES, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": CONTINUES,
            "max_input_chars_per_word": LONGEST_WORD,
            "vocab": ids,
        },
    }


def _check(document: Mapping[str, Any], source: str) -> None:
    for part, wanted in (("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")):
        kind = (document.get(part) or {}).get("type")
        if kind != wanted:
            raise UserError(
                f"{source}: the {part.replace('_', '-')} is {kind}, not {wanted}. "
                "Only BERT's form of WordPiece can be read."
            )


def _has_capitals(pieces: Sequence[str]) -> bool:
    """Tell whether a piece has a capital letter; `[UNK]`, `[unused1]` and the like do not count."""
    return any(piece != piece.lower() for piece in pieces if not piece.startswith("["))
