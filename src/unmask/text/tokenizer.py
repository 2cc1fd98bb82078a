"""Tokenizers: text to ids and back, and the files that hold them.

V pieces in the vocabulary. What all kinds have in common is here, resting on the `tokenizers`
library; each kind has its file in `kinds/`. A kind says how text becomes pieces, a template (see
`template.py`) which special tokens a family of models wants around it: each fits every other.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import tokenizers

from unmask.errors import UserError
from unmask.registry import discover
from unmask.text import template as templates
from unmask.text.sample import Sample
from unmask.text.template import ROLES, Frame, Laid, Template
from unmask.text.tokenizer_files import read_json
from unmask.verbs import TokenizerOptions

MASK = "[MASK]"
"""How a mask is written in a text, whatever the vocabulary calls it."""

_BEFORE_MASK = re.compile(r"\s*\[MASK\]")  # blanks before it belong to what is found for it


@dataclass(frozen=True, slots=True)
class Spelling:
    """How vocabularies of some family write their special tokens."""

    tokens: Mapping[str, str]
    """By their roles."""
    template: Template
    """The layout of that family."""


def _spelling(tokens: str, template: Template) -> Spelling:
    return Spelling(dict(zip(ROLES, tokens.split(), strict=True)), template)


SPELLINGS = {
    "bert": _spelling("[PAD] [UNK] [CLS] [SEP] [MASK]", templates.BERT),
    "albert": _spelling("<pad> <unk> [CLS] [SEP] [MASK]", templates.BERT),
    "xlnet": _spelling("<pad> <unk> <cls> <sep> <mask>", templates.XLNET),
    "roberta": _spelling("<pad> <unk> <s> </s> <mask>", templates.ROBERTA),
    "xlm": _spelling("<pad> <unk> <s> </s> <special1>", templates.XLM),
    "gpt2": Spelling(dict.fromkeys(("pad", "unk", "sep"), "<|endoftext|>"), templates.GPT2),
}
"""A vocabulary is read by the first of these of which it has all tokens."""

SPELLED = {token for spelling in SPELLINGS.values() for token in spelling.tokens.values()}
"""Special tokens that mean nothing when they stand in a text."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as tokens, special tokens not added."""

    ids: list[int]
    """The id of each token."""
    tokens: list[str]
    """The piece of each token."""
    offsets: list[tuple[int, int]]
    """The characters of the text that each token covers: from, up to but not including."""


class Tokenizer(ABC):
    """A vocabulary with all that belongs to turning text into its pieces.

    `document` is the content of a `tokenizer.json`, `source` its name in errors. Raises UserError
    when it is damaged, of another kind, or lacks a special token.
    """

    name: ClassVar[str]
    """Of the kind, as the command line has it."""
    model: ClassVar[str]
    """The library's name of the algorithm."""
    usual: ClassVar[Spelling]
    """How its new vocabularies write their special tokens."""
    smallest: ClassVar[int]
    """Entries of the smallest vocabulary that can be trained."""
    joint: ClassVar[str] = ""
    """What has to stand before a word or sentence that is read alone but does not begin its text:
    a blank where the pieces tell whether there is one."""

    forward: ClassVar[bool] = False
    """Whether pieces tell not that they continue a word, but that the next one continues theirs."""

    vocab_size: int
    """V."""
    ids: Mapping[str, int]
    """The id of each special token by its role, for those roles that the vocabulary knows."""
    special: np.ndarray
    """(special tokens,) int64, their ids, ascending."""
    continues: np.ndarray
    """(V,) bool, the pieces that continue a word; with `forward`, that are continued."""
    languages: Mapping[str, int] = MappingProxyType({})
    """The number of each language that the vocabulary tells apart."""
    template: Template
    """How sequences are laid out."""
    frames: tuple[Frame, Frame]
    """What stands around one text, and around two."""

    def __init__(self, document: Mapping[str, Any], source: str = "tokenizer") -> None:
        self._document = {**document, "truncation": None, "padding": None}
        self._added: list[dict[str, Any]] = list(document.get("added_tokens") or [])
        self._extra = [token for token in self._added if token["content"] not in SPELLED]
        try:
            self._library = self._built()
        except Exception as error:  # the library raises nothing more particular
            raise UserError(f"{source}: damaged ({error}). Copy the file anew.") from error
        added = {token["content"]: token["id"] for token in self._added}
        vocabulary = self._numbered() | added
        spelling = _spelled(vocabulary, self.usual, source)
        self._tokens = spelling.tokens
        self.ids = {role: vocabulary[token] for role, token in self._tokens.items()}
        self.pad, self.unk, self.cls, self.sep, self.mask = map(self.ids.get, ROLES)
        self._use(spelling.template)
        self._document.setdefault("post_processor", self._processor())
        self.vocab_size = max(vocabulary.values()) + 1
        self._pieces = [self._tokens["unk"]] * self.vocab_size
        for piece, token_id in vocabulary.items():
            self._pieces[token_id] = piece
        named = {token["id"] for token in self._added if token["special"]}
        self.special = np.array(sorted(named.union(self.ids.values())), dtype=np.int64)
        self.continues = np.array([self._continues(piece) for piece in self._pieces])

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._document, self.template)

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """Read a tokenizer of any kind from a folder: `tokenizer.json`, or the published files.

        Those are `vocab.txt`; `vocab.json` with `merges.txt`; or a model of SentencePiece. Raises
        UserError when none is there, or when one cannot be read.
        """
        folder = Path(folder)
        kinds: Mapping[str, type[Tokenizer]] = discover("unmask.text.kinds", "KIND")
        saved = folder / "tokenizer.json"
        if saved.is_file():
            document = read_json(saved)
            return _kind(document, kinds, str(saved))(document, str(saved))
        for kind in kinds.values():
            if (found := kind.published(folder)) is not None:
                return found
        raise UserError(
            f"{folder}: neither tokenizer.json nor vocab.txt, vocab.json with merges.txt or a"
            " SentencePiece model is there. Name the folder of a tokenizer, or make one with"
            " `unmask tokenizer`."
        )

    @classmethod
    @abstractmethod
    def published(cls, folder: Path) -> "Tokenizer | None":
        """Read the files of this kind as its authors published them; None when they are absent."""

    @classmethod
    @abstractmethod
    def train(cls, sample: Sample, options: TokenizerOptions) -> "Tokenizer":
        """Make a new vocabulary of at most `vocab_size` entries."""

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and what else the kind has.

        `transformers`' AutoTokenizer opens the folder. The same tokenizer gives the same bytes.
        Raises UserError when they cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in self.files().items():
                (folder / name).write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise UserError(
                f"{error.filename or folder}: cannot be written ({error.strerror}). "
                "Choose another folder, or make room."
            ) from error

    def files(self) -> dict[str, str]:
        """Write the content of each file that is saved, by its name."""
        end = self._tokens["sep"]
        segments = ["token_type_ids"] * any(frame.runs for frame in self.frames)
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",  # which reads tokenizer.json as it is
            "model_max_length": 512,
            "model_input_names": ["input_ids", *segments, "attention_mask"],
            "clean_up_tokenization_spaces": False,
            "bos_token": self._tokens.get("cls", end),
            "eos_token": end,
            **{f"{role}_token": token for role, token in self._tokens.items()},
        }
        return {
            "tokenizer.json": json.dumps(self._document, ensure_ascii=False, indent=2) + "\n",
            "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that determines the ids, in hexadecimal."""
        text = json.dumps(self._determining(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_template(self, template: Template) -> Self:
        """Give the same tokenizer with another layout of sequences.

        Raises UserError for a layout with a special token that the vocabulary lacks.
        """
        if template == self.template:
            return self
        other = copy(self)
        other._use(template)
        other._document = {**self._document, "post_processor": other._processor()}
        return other

    def with_language(self, language: str) -> Self:
        """Give the same tokenizer for texts of another language.

        Raises UserError for one that the vocabulary does not list, or where it tells none apart.
        """
        raise UserError(f"language {language!r}: {self.name} reads all languages alike.")

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of each text, fast: no special tokens, and a literal `[MASK]` is text."""
        encodings = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode(self, text: str, masks: bool = False) -> Encoded:
        """Give a text as tokens; with `masks`, a literal `[MASK]` is the mask token.

        Raises UserError when there is one, and the vocabulary has no mask token.
        """
        if not masks:
            return self._encode(text)
        found, start = Encoded([], [], []), 0
        for match in _BEFORE_MASK.finditer(text):
            if self.mask is None:
                raise UserError("the vocabulary has no mask token; take a model that fills masks")
            _append(found, self._encode(text[start : match.start()]), start)
            span = (match.end() - len(MASK), match.end())
            _append(found, Encoded([self.mask], [self._tokens["mask"]], [span]), 0)
            start = match.end()
        _append(found, self._encode(text[start:]), start)
        return found

    def lay(self, a: Sequence[int], b: Sequence[int] | None = None) -> Laid:
        """Lay out the ids of one text or two as the template says."""
        return self.frames[0].lay(a) if b is None else self.frames[1].lay(a, b)

    def room(self, length: int, texts: int) -> int:
        """How many tokens of one text or two fit into a sequence of so many."""
        return length - self.frames[texts - 1].special

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Give the piece of each id."""
        return [self._pieces[i] for i in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Join pieces to a text, as it would be written."""
        return str(self._library.decode(list(ids), skip_special_tokens=False))

    def _encode(self, text: str) -> Encoded:
        encoding = self._library.encode(text, add_special_tokens=False)
        return Encoded(encoding.ids, self.tokens(encoding.ids), _trimmed(text, encoding.offsets))

    def _determining(self) -> list[Any]:
        """List what determines the ids."""
        parts = [self._document[part] for part in ("normalizer", "pre_tokenizer", "model")]
        return [*parts, self._added]

    def _built(self) -> Any:
        """Make the library's tokenizer, to which no special token that stands in a text is one."""
        return build({**self._document, "added_tokens": self._extra})

    def _processor(self) -> dict[str, Any]:
        """Write the template as a `tokenizer.json` does."""
        return self.template.processor(self._tokens, self.ids)

    def _use(self, template: Template) -> None:
        self.template = template
        self.frames = template.frame(1, self.ids), template.frame(2, self.ids)

    def _numbered(self) -> dict[str, int]:
        """Number the pieces of the model."""
        return dict(self._document["model"]["vocab"])

    @classmethod
    @abstractmethod
    def _continues(cls, piece: str) -> bool:
        """Tell whether a piece continues a word."""


def build(document: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Make the library's tokenizer from the content of a `tokenizer.json`."""
    return tokenizers.Tokenizer.from_str(json.dumps(document))


def special(
    tokens: Iterable[str], ids: Mapping[str, int], greedy: str | None = None
) -> list[dict[str, Any]]:
    """Make the `added_tokens` for those of some special tokens that a vocabulary has.

    greedy: the one that swallows blanks before it, as a mask does where pieces begin with them.
    """
    found = [
        {
            "id": ids[token],
            "content": token,
            "single_word": False,
            "lstrip": token == greedy,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in tokens
        if token in ids
    ]
    return sorted(found, key=lambda token: token["id"])


def _rebuild(kind: type[Tokenizer], document: dict[str, Any], template: Template) -> Tokenizer:
    return kind(document).with_template(template)


def _kind(
    document: Mapping[str, Any], kinds: Mapping[str, type[Tokenizer]], source: str
) -> type[Tokenizer]:
    """Find the kind of a `tokenizer.json` by its model, which older files do not name."""
    model = document.get("model") or {}
    marks = {"max_input_chars_per_word": "WordPiece", "merges": "BPE", "unk_id": "Unigram"}
    name = model.get("type") or next((marks[mark] for mark in marks if mark in model), None)
    found = [kind for kind in kinds.values() if kind.model == name]
    if not found:
        raise UserError(
            f"{source}: the model is {name}; there are"
            f" {', '.join(sorted({kind.model for kind in kinds.values()}))}."
        )
    return found[0]


def _spelled(vocabulary: Mapping[str, int], usual: Spelling, source: str) -> Spelling:
    """Find how a vocabulary writes its special tokens, or name the usual ones that it lacks."""
    for spelling in SPELLINGS.values():
        if all(token in vocabulary for token in spelling.tokens.values()):
            return spelling
    missing = [token for token in usual.tokens.values() if token not in vocabulary]
    raise UserError(
        f"{source}: the vocabulary lacks {', '.join(missing)}. "
        "Name a published one, or make one with `unmask tokenizer`."
    )


def _append(found: Encoded, more: Encoded, start: int) -> None:
    """Add tokens of the part of a text that begins at a character."""
    found.ids.extend(more.ids)
    found.tokens.extend(more.tokens)
    found.offsets.extend((start + begin, start + end) for begin, end in more.offsets)


def _trimmed(text: str, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave white space at the ends of tokens out; they never run backwards."""
    found = []
    for begin, end in offsets:
        while begin < end and text[begin].isspace():
            begin += 1
        while begin < end and text[end - 1].isspace():
            end -= 1
        found.append((begin, end))
    return found
