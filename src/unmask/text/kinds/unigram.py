"""Unigram: the most probable pieces of a text, each with a probability of its own.

Kudo 2018, https://arxiv.org/abs/1804.10959, as SentencePiece has it: ALBERT, XLNet, CamemBERT and
XLM-R come with its files. Every word gets a `▁` in front, so a piece without one continues a word;
a character that no piece covers is unknown.

ALBERT and XLNet cut a comma off a piece that ends with a digit and a comma. As in published
tokenizer.json files, such pieces are here made so improbable that it comes to the same. Where two
ways to cut a text are equally probable, SentencePiece itself may take the other one.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models

from unmask.registry import late
from unmask.text.sample import COVERAGE, Sample
from unmask.text.sentencepiece_model import Piece, SentencePieceModel, parse
from unmask.text.tokenizer import SPELLED, SPELLINGS, Encoded, Tokenizer, build, special
from unmask.text.tokenizer_files import read_settings
from unmask.verbs import TokenizerOptions

BLANK = "▁"
"""What a word begins with."""

FILES = ("spiece.model", "sentencepiece.bpe.model")
"""Names of published files: of ALBERT and XLNet, and of CamemBERT and XLM-R."""

IMPROBABLE = 100.0
"""By how much the logarithm of a probability is made smaller where a piece must not be used."""

THREADS = 16
"""Of training; another number would give another vocabulary, by the order in which is added."""

QUOTES = ("``", "''")
"""What ALBERT and XLNet read as one double quotation mark."""

_NEVER = "\0"  # stands before pieces that mean no text, so that no text is cut into them


class Unigram(Tokenizer):
    """A Unigram vocabulary; `describe` makes its document of a model of SentencePiece."""

    name = "unigram"
    model = "Unigram"
    usual = SPELLINGS["albert"]
    smallest = 100

    @classmethod
    def published(cls, folder: Path) -> "Unigram | None":
        """Read `spiece.model`, or `sentencepiece.bpe.model`.

        The latter is numbered as fairseq has it: by `config.json`, as in CamemBERT; else as in
        XLM-R. `do_lower_case` and `keep_accents` are read from a `tokenizer_config.json`.
        """
        path = next((folder / name for name in FILES if (folder / name).is_file()), None)
        if path is None:
            return None
        found = parse(path.read_bytes(), str(path))
        settings = read_settings(folder)
        texts = {piece.text for piece in found.pieces}
        if not texts & {"[SEP]", "<sep>"}:
            names = f"{settings.get('model_type')} {settings.get('tokenizer_class')}"
            return cls(describe(_fairseq(found, "camembert" in names.lower()), []), str(path))
        lower = settings.get("do_lower_case", "[SEP]" in texts)
        accents = settings.get("keep_accents", False)
        cleaning = _cleaning(lower=lower, accents=accents)
        return cls(describe(_split_commas(found), cleaning), str(path))

    @classmethod
    def train(cls, sample: Sample, options: TokenizerOptions) -> "Unigram":
        """Make a new vocabulary of at most `vocab_size` entries, with or without case and accents.

        Behind the special tokens come the pieces, the most probable first. SentencePiece finds
        them, and brings characters to a normal form.
        """
        cleaning = _cleaning(lower=not options.cased, accents=options.cased)
        nothing = SentencePieceModel([Piece("", 0.0, True)], 0, b"")
        clean = build(describe(nothing, cleaning)).normalizer.normalize_str
        sample.characters(clean)
        counts: Counter[str] = Counter()
        for batch in sample.batches("Counting words"):
            for text in batch:
                counts.update(clean(text).split())
        tokens = cls.usual.tokens
        written = io.BytesIO()
        late("sentencepiece").SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{counts[word]}" for word in sorted(counts)),
            input_format="tsv",
            model_writer=written,
            model_type="unigram",
            vocab_size=options.vocab_size,
            hard_vocab_limit=False,
            character_coverage=COVERAGE,
            num_threads=THREADS,
            pad_id=1,
            pad_piece=tokens["pad"],
            unk_id=3,
            unk_piece=tokens["unk"],
            bos_id=-1,
            eos_id=-1,
            control_symbols=[tokens[role] for role in ("cls", "sep", "mask")],
            minloglevel=2,
        )
        return cls(describe(parse(written.getvalue(), "the new model"), cleaning))

    def decode(self, ids: Sequence[int]) -> str:
        """Join pieces to a text, as it would be written."""
        return super().decode(ids).replace(_NEVER, "")

    def _encode(self, text: str) -> Encoded:
        found = super()._encode(text)
        before = 0  # the library leaves the first character of a double quotation mark out
        for number, (start, end) in enumerate(found.offsets):
            if before < start and text[start - 1 : start + 1] in QUOTES:
                found.offsets[number] = (start - 1, end)
            before = end
        return found

    def _built(self) -> tokenizers.Tokenizer:
        model = self._document["model"]
        frame = {**model, "vocab": [["", 0.0]], "unk_id": 0}
        library = build({**self._document, "added_tokens": [], "model": frame})
        # Read from JSON, the library would round probabilities, and decide otherwise between ties.
        pieces = [(_NEVER * (text in SPELLED) + text, score) for text, score in model["vocab"]]
        library.model = models.Unigram(pieces, model["unk_id"], byte_fallback=False)
        extra = [{k: v for k, v in token.items() if k != "id"} for token in self._extra]
        library.add_tokens([tokenizers.AddedToken(**token) for token in extra])
        return library

    def _numbered(self) -> dict[str, int]:
        return {text: i for i, (text, _) in enumerate(self._document["model"]["vocab"])}

    @classmethod
    def _continues(cls, piece: str) -> bool:
        return not piece.startswith(BLANK)


KIND = Unigram


def describe(found: SentencePieceModel, cleaning: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make the content of a `tokenizer.json`; cleaning: what is done before normalisation."""
    ids = {piece.text: i for i, piece in enumerate(found.pieces)}
    named = [piece.text for piece in found.pieces if piece.special]
    greedy = next((token for token in ("[MASK]", "<mask>") if token in ids), None)
    charsmap = base64.b64encode(found.charsmap).decode()
    normal = [{"type": "Precompiled", "precompiled_charsmap": charsmap}] if charsmap else []
    blanks = {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special(named, ids, greedy),
        "normalizer": {"type": "Sequence", "normalizers": [*cleaning, *normal]},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, blanks],
        },
        "decoder": blanks,
        "model": {
            "type": "Unigram",
            "unk_id": found.unknown,
            "vocab": [[piece.text, piece.score] for piece in found.pieces],
            "byte_fallback": False,
        },
    }


def _cleaning(*, lower: bool, accents: bool) -> list[dict[str, Any]]:
    """List what ALBERT and XLNet do before normalisation: quotes, accents, capital letters."""
    quotes = [{"type": "Replace", "pattern": {"String": quote}, "content": '"'} for quote in QUOTES]
    without = [] if accents else [{"type": "NFKD"}, {"type": "StripAccents"}]
    return [*quotes, *without, *([{"type": "Lowercase"}] if lower else [])]


def _split_commas(found: SentencePieceModel) -> SentencePieceModel:
    """Let a comma behind a digit be a piece of its own."""
    pieces = [
        piece._replace(score=piece.score - IMPROBABLE)
        if piece.text[-1:] == "," and piece.text[-2:-1].isdigit()
        else piece
        for piece in found.pieces
    ]
    return replace(found, pieces=pieces)


def _fairseq(found: SentencePieceModel, camembert: bool) -> SentencePieceModel:
    """Number pieces as fairseq does: its own special tokens first, the mask last."""
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    if camembert:  # it has <s> and </s> once more, where SentencePiece has them
        first = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"]
    behind = found.pieces[1 if camembert else 3 :]
    pieces = [*(Piece(text, 0.0, True) for text in first), *behind, Piece("<mask>", 0.0, True)]
    return SentencePieceModel(pieces, first.index("<unk>"), found.charsmap)
