"""Byte-level BPE: pairs of bytes merged in the order of their frequency in a training text.

GPT-2's tokenizer (Radford et al. 2019, section 2.2), which RoBERTa took over. A text is cut into
words, each with the blank before it, numbers, and runs of marks; each of these is written as bytes,
for every one of which there is a character, and the pairs on the list of merges are joined, the
first one on the list first. No text is unknown, and nothing of it is lost. The blank before a word
is written `Ġ`, so a piece without it continues a word.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers, trainers

from unmask.errors import UserError
from unmask.text.sample import SEEN, Sample
from unmask.text.tokenizer import SPELLINGS, Tokenizer, build, special
from unmask.text.tokenizer_files import read_json, read_text
from unmask.verbs import TokenizerOptions

BLANK = "Ġ"
"""How a blank is written."""

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""The special tokens, in the order in which a new vocabulary begins with them: RoBERTa's, whose
positions rest on the number of the padding."""

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
"""Cuts a text into words, and writes bytes as characters."""


class ByteBPE(Tokenizer):
    """A byte-level BPE; `describe` makes its document of a vocabulary with its merges."""

    name = "byte-bpe"
    model = "BPE"
    usual = SPELLINGS["roberta"]
    smallest = 300
    joint = " "

    def __init__(self, document: Mapping[str, Any], source: str = "tokenizer") -> None:
        cutting = document.get("pre_tokenizer") or {}
        steps = [step.get("type") for step in (cutting, *cutting.get("pretokenizers", ()))]
        if "ByteLevel" not in steps:
            raise UserError(
                f"{source}: the pre-tokenizer is {cutting.get('type')}, not ByteLevel. "
                "Only the byte-level form of BPE can be read."
            )
        super().__init__(document, source)

    @classmethod
    def published(cls, folder: Path) -> "ByteBPE | None":
        """Read `vocab.json` and `merges.txt`; `add_prefix_space` of a `tokenizer_config.json`."""
        plain, listed = folder / "vocab.json", folder / "merges.txt"
        config = folder / "tokenizer_config.json"
        if not (plain.is_file() and listed.is_file()):
            return None
        vocabulary = read_json(plain)
        if BLANK not in vocabulary:  # those of XLM have other pieces
            return None
        lines = read_text(listed).split("\n")
        merges = [line.split(" ") for line in lines[lines[0].startswith("#version") :] if line]
        prefix = config.is_file() and bool(read_json(config).get("add_prefix_space"))
        return cls(describe(vocabulary, merges, prefix=prefix), str(plain))

    @classmethod
    def train(cls, sample: Sample, options: TokenizerOptions) -> "ByteBPE":
        """Make a new vocabulary of at most `vocab_size` entries; case and accents are always kept.

        Behind the special tokens come the bytes, then the pieces in the order of their merging.
        """
        sample.characters(str)
        known = sorted(pre_tokenizers.ByteLevel.alphabet())
        library = build({**describe({}, []), "added_tokens": []})
        trainer = trainers.BpeTrainer(
            vocab_size=options.vocab_size,
            min_frequency=SEEN,
            special_tokens=list(SPECIAL),
            initial_alphabet=known,
            show_progress=False,
        )
        library.train_from_iterator(sample.batches("Counting words"), trainer)
        learned = json.loads(library.to_str())["model"]
        return cls(describe(learned["vocab"], learned["merges"]))

    def _processor(self) -> dict[str, Any]:
        return {"type": "Sequence", "processors": [BYTES, super()._processor()]}

    @classmethod
    def _continues(cls, piece: str) -> bool:
        return not piece.startswith(BLANK)


KIND = ByteBPE


def describe(
    vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], *, prefix: bool = False
) -> dict[str, Any]:
    """Make the content of a `tokenizer.json`; prefix: whether a text is read as behind a blank."""
    named = (*SPECIAL, "<|endoftext|>")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special(named, vocabulary, "<mask>"),
        "normalizer": None,
        "pre_tokenizer": {**BYTES, "add_prefix_space": prefix},
        "decoder": BYTES,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(vocabulary),
            "merges": [list(pair) for pair in merges],
        },
    }
