"""BPE on the words of Moses: pairs of characters merged by their frequency in a training text.

Sennrich, Haddow and Birch 2016, https://arxiv.org/abs/1508.07909, as XLM (Lample and Conneau 2019)
and FlauBERT have it. The last piece of a word ends with `</w>`; each other one is continued by the
piece behind it. A character that the vocabulary lacks is unknown.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from unmask.errors import UserError
from unmask.text.moses import Moses, align
from unmask.text.sample import SEEN, Sample, alphabet
from unmask.text.tokenizer import SPELLINGS, Encoded, Tokenizer, special
from unmask.text.tokenizer_files import read_json, read_settings, read_text
from unmask.verbs import TokenizerOptions

ENDS = "</w>"
"""What the last piece of a word ends with."""

SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", *(f"<special{number}>" for number in range(10)))
"""The special tokens, in the order in which a vocabulary begins with them."""

REMEMBERED = 200_000
"""Words whose pieces are remembered."""

CLASSES = {"xlm": "XLMTokenizer", "flaubert": "FlaubertTokenizer"}
"""The class that `transformers` opens each form with."""


class MosesBPE(Tokenizer):
    """A BPE with its way to find words; `describe` makes its document."""

    name = "moses-bpe"
    model = "Moses BPE"
    usual = SPELLINGS["xlm"]
    smallest = 100
    forward = True

    def __init__(self, document: Mapping[str, Any], source: str = "tokenizer") -> None:
        self.moses = Moses(**document["normalizer"])
        self.languages = document["languages"]
        super().__init__(document, source)

    @classmethod
    def published(cls, folder: Path) -> "MosesBPE | None":
        """Read `vocab.json` and `merges.txt`, and the settings in the JSON files beside them."""
        plain, listed = folder / "vocab.json", folder / "merges.txt"
        if not (plain.is_file() and listed.is_file()):
            return None
        vocabulary = read_json(plain)
        if not any(piece.endswith(ENDS) for piece in vocabulary):
            return None
        merges = [line.split()[:2] for line in read_text(listed).split("\n") if line.strip()]
        settings = read_settings(folder)
        languages = settings.get("lang2id") or {}
        return cls(describe(vocabulary, merges, _moses(settings, languages), languages), str(plain))

    @classmethod
    def train(cls, sample: Sample, options: TokenizerOptions) -> "MosesBPE":
        """Make a new vocabulary: in FlauBERT's form where French is the only language, else XLM's.

        Where there are several languages, all text is cut as the first one is. Behind the special
        tokens come the characters of the text, as they stand within a word and at its end, then
        the pieces in the order in which they were merged.
        """
        size, languages = options.vocab_size, options.language.split(",")
        form: Literal["xlm", "flaubert"] = "flaubert" if languages == ["fr"] else "xlm"
        moses = Moses(form=form, language=languages[0], lower=not options.cased)
        listed = alphabet(sample.characters(lambda one: moses.plain(moses.normal(one))), size)
        library = tokenizers.Tokenizer(models.BPE(end_of_word_suffix=ENDS))
        library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=SEEN,
            special_tokens=[*SPECIAL, *listed, *(one + ENDS for one in listed)],
            initial_alphabet=listed,
            limit_alphabet=len(listed),
            end_of_word_suffix=ENDS,
            show_progress=False,
        )
        batches = (
            [" ".join(moses.words(text)) for text in batch]
            for batch in sample.batches("Counting words")
        )
        library.train_from_iterator(batches, trainer)
        learned = json.loads(library.to_str())["model"]
        numbered = {language: number for number, language in enumerate(languages)}
        return cls(describe(learned["vocab"], learned["merges"], moses, numbered))

    def with_language(self, language: str) -> Self:
        """Give the same tokenizer for another language, which has its own words and abbreviations.

        Raises UserError for one that the vocabulary does not list.
        """
        known = self.languages or [self.moses.language]
        if language not in known:
            raise UserError(
                f"language {language!r} is not among those of the vocabulary: {', '.join(known)}"
            )
        moses = replace(self.moses, language=language)
        document = {**self._document, "normalizer": asdict(moses)}
        return type(self)(document).with_template(self.template)

    def files(self) -> dict[str, str]:
        """Write the content of each file that is saved: those that XLM and FlauBERT come with."""
        model, tokens = self._document["model"], self._tokens
        lower = "do_lowercase_and_remove_accent" if self.moses.form == "xlm" else "do_lowercase"
        config: dict[str, Any] = {
            "tokenizer_class": CLASSES[self.moses.form],
            "model_max_length": 512,
            "model_input_names": ["input_ids", "attention_mask"],
            lower: self.moses.lower,
            "language": self.moses.language,
            "bos_token": tokens["cls"],
            **{f"{role}_token": token for role, token in tokens.items()},
        }
        if self.languages:
            names = {number: name for name, number in self.languages.items()}
            config |= {"lang2id": self.languages, "id2lang": names}
        return {
            "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
            "vocab.json": json.dumps(model["vocab"], ensure_ascii=False, indent=2) + "\n",
            "merges.txt": "".join(f"{a} {b}\n" for a, b in model["merges"]),
        }

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of each text: no special tokens, and a literal `[MASK]` is text."""
        pieces = self._library.__getitem__
        return [[token for word in self.moses.words(t) for token in pieces(word)[0]] for t in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Join pieces to words, with blanks between them."""
        named = set(self.special.tolist())
        written = (self._pieces[i] + " " * (i in named) for i in ids)
        return "".join(written).replace(ENDS, " ").strip()

    def _encode(self, text: str) -> Encoded:
        words = self.moses.words(text)
        spans = align(text, "".join(words))
        found = Encoded([], [], [])
        start = 0
        for word in words:
            ids, sizes = self._library[word]
            found.ids.extend(ids)
            for size in sizes:
                found.offsets.append((spans[start][0], spans[start + size - 1][1]))
                start += size
        found.tokens.extend(self.tokens(found.ids))
        return found

    def _built(self) -> "_Words":
        model = self._document["model"]
        return _Words(model["vocab"], model["merges"], model["vocab"].get("<unk>", 0))

    def _determining(self) -> list[Any]:
        """List what determines the ids, but for the language, in which a model's texts differ."""
        normalizer = asdict(replace(self.moses, language="en"))
        return [normalizer, *super()._determining()[1:]]

    @classmethod
    def _continues(cls, piece: str) -> bool:
        return not piece.endswith(ENDS)


KIND = MosesBPE


def describe(
    vocabulary: Mapping[str, int],
    merges: Sequence[Sequence[str]],
    moses: Moses,
    languages: Mapping[str, int],
) -> dict[str, Any]:
    """Make the document of a vocabulary with its merges."""
    return {
        "added_tokens": special(SPECIAL, vocabulary),
        "normalizer": asdict(moses),
        "pre_tokenizer": None,
        "model": {"type": MosesBPE.model, "vocab": dict(vocabulary), "merges": list(merges)},
        "languages": dict(languages),
    }


def _moses(settings: Mapping[str, Any], languages: Mapping[str, int]) -> Moses:
    """Read the way to find words from the settings of a published tokenizer and its model."""
    named = f"{settings.get('model_type')} {settings.get('tokenizer_class')}".lower()
    if "flaubert" in named:
        lower = bool(settings.get("do_lowercase", False))
        return Moses(form="flaubert", language="fr", lower=lower)
    usual = "en" if "en" in languages or not languages else next(iter(languages))
    lower = settings.get("do_lowercase_and_remove_accent", True)
    return Moses(language=settings.get("language", usual), lower=lower)


class _Words(dict[str, tuple[list[int], list[int]]]):
    """The pieces of words that have come before, at most `REMEMBERED`: ids, and characters of each.

    The library's own BPE needs every piece on the way to another in the vocabulary; published
    vocabularies leave such pieces out.
    """

    def __init__(
        self, vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], unknown: int
    ) -> None:
        super().__init__()
        self._vocabulary, self._unknown = vocabulary, unknown
        self._ranks = {(a, b): rank for rank, (a, b) in enumerate(merges)}

    def __missing__(self, word: str) -> tuple[list[int], list[int]]:
        pieces = [*word[:-1], word[-1] + ENDS]
        while len(pieces) > 1:
            best = min(pairwise(pieces), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            pieces = _merged(pieces, best)
        ids = [self._vocabulary.get(piece, self._unknown) for piece in pieces]
        sizes = [len(piece) for piece in pieces]
        sizes[-1] -= len(ENDS)
        if len(self) >= REMEMBERED:
            self.clear()
        self[word] = ids, sizes
        return ids, sizes


def _merged(pieces: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """Join a pair of neighbours wherever it stands, from the left."""
    found: list[str] = []
    for piece in pieces:
        if found and (found[-1], piece) == pair:
            found[-1] += piece
        else:
            found.append(piece)
    return found
