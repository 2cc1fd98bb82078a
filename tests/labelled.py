"""Labelled sentences that a tiny model learns within seconds."""

import random
from collections.abc import Sequence
from pathlib import Path

import tiny
from unmask.exchange import huggingface
from unmask.text.tokenizer import Tokenizer

ANIMALS = ("fox", "dog", "horse", "bear")
SETS = [
    "reading.length=24",
    "micro_tokens=64",
    "precision=float32",
    "dropout=0.1",
    "keeping.checkpoint_seconds=0",
]
"""A few forward passes a step, a checkpoint after every step."""


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Draw sentences, each with its animal as the label."""
    drawn = random.Random(seed).choices(tiny.SENTENCES, k=count)
    return [(text, next(animal for animal in ANIMALS if animal in text)) for text in drawn]


def tsv(
    path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")
) -> str:
    """Write a TSV; gives its path."""
    lines = ["\t".join(row) for row in (header, *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def model(folder: Path, head: str = "pooler") -> str:
    """Save a tiny encoder; gives its folder."""
    words: Tokenizer = tiny.tokenizer()
    huggingface.write(tiny.pretrained(words, head), folder)
    return str(folder)
