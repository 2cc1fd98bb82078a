"""WordPiece as BERT has it: text to ids and back, and the files that hold it.

V pieces in the vocabulary. The text is cleaned of control characters, spaced around Chinese
characters and, where the vocabulary is uncased, put in lower case without accents; cut into words
and punctuation marks; and each word into the longest pieces that the vocabulary has, from the left.
A piece that continues a word is written with a leading `##`.

One thing differs from the original release (google-research/bert, tokenization.py), as it does in
every tokenizer made with the `tokenizers` library: a word of more than 100 characters becomes
[UNK]; there it may have 200.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from unmask.errors import UserError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The special tokens, in the order in which a new vocabulary begins with them."""

CONTINUES = "##"
"""What a piece that continues a word begins with."""

LONGEST_WORD = 100
"""Characters of the longest word that is cut into pieces; a longer one becomes [UNK]."""

REMEMBERED = 200_000
"""Words whose ids are remembered, some tens of megabytes of them."""

_MARKS = r"!-/:-@\[-`{-~\u2010-\u2027"
"""Punctuation marks that are common: each is a word by itself."""

_CHINESE = r"\u4e00-\u9fff"
"""Chinese characters that are common: so are these, where spaces are put around them."""

_CLEANING = tokenizers.normalizers.BertNormalizer(strip_accents=False, lowercase=False)
_CUTTING = tokenizers.pre_tokenizers.BertPreTokenizer()


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as tokens, special tokens not added."""

    ids: list[int]
    """The id of each token."""
    tokens: list[str]
    """The piece of each token."""
    offsets: list[tuple[int, int]]
    """The characters of the text that each token covers: from, up to but not including."""


class Tokenizer:
    """A WordPiece vocabulary with the cleaning that belongs to it.

    `document` is the content of a `tokenizer.json` (`describe` makes a new one), `source` its name
    in errors. Raises UserError when it is no BERT tokenizer or lacks a special token.
    """

    vocab_size: int
    """V."""
    special: np.ndarray
    """(5,) int64, the ids of the special tokens, ascending."""
    continues: np.ndarray
    """(V,) bool, the pieces that continue a word."""

    def __init__(self, document: Mapping[str, Any], source: str = "tokenizer") -> None:
        self._document = {**document, "truncation": None, "padding": None}
        _check(self._document, source)
        self._added: list[dict[str, Any]] = list(document.get("added_tokens") or [])
        vocabulary: dict[str, int] = dict(document["model"]["vocab"])
        vocabulary.update({token["content"]: token["id"] for token in self._added})
        missing = [token for token in SPECIAL if token not in vocabulary]
        if missing:
            raise UserError(
                f"{source}: the vocabulary lacks {', '.join(missing)}. "
                "Name BERT's own, or make one with `unmask tokenizer`."
            )
        self.pad, self.unk, self.cls, self.sep, self.mask = (vocabulary[t] for t in SPECIAL)
        self.vocab_size = max(vocabulary.values()) + 1
        self._pieces = ["[UNK]"] * self.vocab_size
        for piece, token_id in vocabulary.items():
            self._pieces[token_id] = piece
        self.special = np.array(sorted(vocabulary[t] for t in SPECIAL), dtype=np.int64)
        self.continues = np.array([piece.startswith(CONTINUES) for piece in self._pieces])
        self._extra = [token for token in self._added if token["content"] not in SPECIAL]
        self._library = self._library_for([])
        self._words = _Words(self._library)
        alone = _MARKS + _CHINESE * document["normalizer"]["handle_chinese_chars"]
        self._word = re.compile(f"[{alone}]|[^ {alone}]+")

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[dict[str, Any]]]:
        return Tokenizer, (self._document,)

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Read a tokenizer from a folder with `tokenizer.json`, or with `vocab.txt` alone.

        Beside a `vocab.txt` alone, `do_lower_case` in `tokenizer_config.json` says whether it is
        uncased; where that is absent, a vocabulary with capital letters is cased. Raises UserError
        when there is neither file, or when one cannot be read.
        """
        folder = Path(folder)
        saved, plain = folder / "tokenizer.json", folder / "vocab.txt"
        if saved.is_file():
            return cls(_read_json(saved), str(saved))
        if plain.is_file():
            pieces = _read_text(plain).removesuffix("\n").split("\n")
            config = folder / "tokenizer_config.json"
            lower = _read_json(config).get("do_lower_case") if config.is_file() else None
            cased = _has_capitals(pieces) if lower is None else not lower
            return cls(describe(pieces, cased=cased), str(plain))
        raise UserError(
            f"{folder}: neither tokenizer.json nor vocab.txt is there. "
            "Name the folder of a tokenizer, or make one with `unmask tokenizer`."
        )

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `vocab.txt`.

        `transformers`' AutoTokenizer opens the folder. The same tokenizer gives the same bytes.
        Raises UserError when they cannot be written.
        """
        folder = Path(folder)
        normalizer = self._document["normalizer"]
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer.get("strip_accents"),
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
            "model_max_length": 512,
            **{f"{token.strip('[]').lower()}_token": token for token in SPECIAL},
        }
        files = {
            "tokenizer.json": json.dumps(self._document, ensure_ascii=False, indent=2) + "\n",
            "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
            "vocab.txt": "".join(f"{piece}\n" for piece in self._pieces),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserError(
                f"{error.filename or folder}: cannot be written ({error.strerror}). "
                "Choose another folder, or make room."
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that determines the ids, in hexadecimal."""
        parts = [self._document[part] for part in ("normalizer", "pre_tokenizer", "model")]
        text = json.dumps([*parts, self._added], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of each text, fast: no special tokens, and a literal `[MASK]` is text."""
        if self._extra:  # such tokens may hold spaces and marks, so a text must be read as one
            encodings = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
            return [encoding.ids for encoding in encodings]
        ids, words = self._words.__getitem__, self._word.findall
        return [list(chain.from_iterable(map(ids, words(text)))) for text in texts]

    def encode(self, text: str, masks: bool = False) -> Encoded:
        """Give a text as tokens; with `masks`, a literal `[MASK]` is the mask token."""
        library = self._masking if masks else self._library
        encoding = library.encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, encoding.tokens, encoding.offsets)

    def template(
        self, a: Sequence[int], b: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """Lay out ids as `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`: ids, and segments 0 and 1."""
        first = [self.cls, *a, self.sep]
        second = [] if b is None else [*b, self.sep]
        return first + second, [0] * len(first) + [1] * len(second)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Give the piece of each id."""
        return [self._pieces[i] for i in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Join pieces to a text: continuations to their words, punctuation as it is written."""
        return str(self._library.decode(list(ids), skip_special_tokens=False))

    @cached_property
    def _masking(self) -> tokenizers.Tokenizer:
        return self._library_for([_special("[MASK]", self.mask)])

    def _library_for(self, special: list[dict[str, Any]]) -> tokenizers.Tokenizer:
        """Make the library's tokenizer, to which no other special tokens are special."""
        return build({**self._document, "added_tokens": [*self._extra, *special]})


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


def words(text: str) -> list[tuple[int, int]]:
    """Find the words and punctuation marks of a text, as BERT cuts it before it makes pieces.

    A Chinese character is a word by itself. Gives the characters of each: from, up to but not
    including.
    """
    split = tokenizers.PreTokenizedString(text)
    split.normalize(_CLEANING.normalize)
    _CUTTING.pre_tokenize(split)
    return [span for _, span, _ in split.get_splits("original", "char")]


def build(document: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Make the library's tokenizer from the content of a `tokenizer.json`."""
    return tokenizers.Tokenizer.from_str(json.dumps(document))


def describe(pieces: Sequence[str], *, cased: bool) -> dict[str, Any]:
    """Make the content of a `tokenizer.json` for a vocabulary in the order of its ids."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    added = [_special(token, ids[token]) for token in SPECIAL if token in ids]
    a, b = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    cls, sep, end = (
        {"SpecialToken": {"id": token, "type_id": i}}
        for token, i in (("[CLS]", 0), ("[SEP]", 0), ("[SEP]", 1))
    )
    named = {
        token: {"id": token, "ids": [ids[token]], "tokens": [token]}
        for token in ("[CLS]", "[SEP]")
        if token in ids
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda token: token["id"]),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": not cased,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, a, sep],
            "pair": [cls, a, sep, b, end],
            "special_tokens": named,
        },
        "decoder": {"type": "WordPiece", "prefix": CONTINUES, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": CONTINUES,
            "max_input_chars_per_word": LONGEST_WORD,
            "vocab": ids,
        },
    }


def _special(token: str, token_id: int) -> dict[str, Any]:
    """Make the entry of a special token among the `added_tokens`."""
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": token, **plain, "special": True}


def _check(document: Mapping[str, Any], source: str) -> None:
    for part, wanted in (
        ("model", "WordPiece"),
        ("normalizer", "BertNormalizer"),
        ("pre_tokenizer", "BertPreTokenizer"),
    ):
        kind = (document.get(part) or {}).get("type")
        if kind != wanted:
            raise UserError(
                f"{source}: the {part.replace('_', '-')} is {kind}, not {wanted}. "
                "Only BERT's tokenizer can be read."
            )
    try:
        build(document)
    except Exception as error:  # the library raises nothing more particular
        raise UserError(f"{source}: damaged ({error}). Copy the file anew.") from error


def _has_capitals(pieces: Sequence[str]) -> bool:
    """Tell whether a piece has a capital letter; `[UNK]`, `[unused1]` and the like do not count."""
    return any(piece != piece.lower() for piece in pieces if not piece.startswith("["))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, byte {error.start:,}: not UTF-8. Save the file as UTF-8."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}). Copy the file anew."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object. Copy the file anew.")
    return content
