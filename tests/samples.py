"""A few rows for every kind of task, and tiny models that were made for it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tiny
from unmask.contracts import Kind, Task
from unmask.data.windows import Reading
from unmask.exchange import huggingface
from unmask.model.generation import Writing
from unmask.registry import discover
from unmask.rewriting import Rewriting
from unmask.text.columns import Columns
from unmask.text.rows import Row

KINDS: dict[str, Kind] = discover("unmask.tasks", "TASK")
READING = Reading(length=24, stride=4, answer=6, sentences=2)
WRITING = Writing(max_new_tokens=12, num_beams=2)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a kind of task reads and gives."""

    rows: list[dict[str, Any]]
    """Labelled rows, of like and unlike lengths, one longer than the reading."""
    label: str
    """Column of the label."""
    text: str
    """A column that no row can do without."""
    keys: set[str]
    """Of a result; empty where results are numbers."""
    item: Any
    """What Python may give."""
    best: float = 1.0
    """The main figure of answers that are all right."""
    learns: bool = True


LONG = "the lazy bear looked over the river . " * 4
ANSWERS = {"text": ["the fox"], "answer_start": [0]}
SAMPLES: Mapping[str, Sample] = {
    "text-classification": Sample(
        rows=[
            {"sentence": "the quick fox", "label": "good"},
            {"sentence": "a dog walked over the fence .", "label": "bad"},
            {"sentence": "", "label": "good"},
            {"sentence": LONG, "label": "so so"},
        ],
        label="label",
        text="sentence",
        keys={"label", "score"},
        item=("the fox", "a dog"),
    ),
    "regression": Sample(
        rows=[
            {"sentence1": "the fox", "sentence2": "a dog", "score": 0.5},
            {"sentence1": "the brown bear", "sentence2": "the bear", "score": "4.25"},
            {"sentence1": LONG, "sentence2": "a river", "score": 2},
        ],
        label="score",
        text="sentence2",
        keys={"label", "score"},
        item={"text": "the fox", "text_pair": "a dog"},
    ),
    "token-classification": Sample(
        rows=[
            {"words": ["the", "zoo", "fox"], "labels": ["O", "B-A", "I-A"]},
            {"words": ["dog"], "labels": ["B-B"]},
            {"words": LONG.split(), "labels": ["B-A"] + ["O"] * (len(LONG.split()) - 1)},
        ],
        label="labels",
        text="words",
        keys={"entity_group", "score", "word", "start", "end"},
        item="the zoo fox walked",
    ),
    "question-answering": Sample(
        rows=[
            {"question": "who ?", "context": "the fox walked .", "answers": ANSWERS},
            {"question": "what", "context": "the fox jumped", "answers": ANSWERS},
            {"question": "who", "context": "the fox . " + LONG, "answers": ANSWERS},
        ],
        label="answers",
        text="context",
        keys={"score", "start", "end", "answer"},
        item={"question": "who ?", "context": "the fox walked ."},
        best=100.0,
    ),
    "multiple-choice": Sample(
        rows=[
            {"context": "the fox", "choices": ["walked", "over the fence", "."], "label": 0},
            {"context": "a dog", "choices": ["lazy", "fox"], "label": 1},
            {"context": LONG, "choices": ["the river", "the lazy dog"], "label": 0},
        ],
        label="label",
        text="context",
        keys={"choice", "index", "score"},
        item=("the fox", ["walked", "over the fence"]),
    ),
    "translation": Sample(
        rows=[
            {"source": "the fox", "target": "a dog walked over the fence ."},
            {"source": "the brown bear walked", "target": "the bear"},
            {"source": LONG, "target": LONG},
        ],
        label="target",
        text="source",
        keys={"translation_text"},
        item="the quick fox",
        best=100.0,
    ),
    "summarization": Sample(
        rows=[
            {"document": "the fox . the dog .", "summary": "the fox"},
            {"document": ["a dog walked .", "the bear ."], "summary": ["the dog .", "a bear"]},
            {"document": LONG, "summary": LONG},
        ],
        label="summary",
        text="document",
        keys={"summary_text"},
        item=["the quick fox .", "a dog ."],
    ),
    "extractive-summarization": Sample(
        rows=[
            {"document": ["the fox .", "the dog ."], "summary": "the fox"},
            {
                "document": ["a dog .", "the bear walked .", "no ."],
                "summary": ["the dog .", "bear"],
            },
            {"document": [LONG, "the fox .", LONG, "over the river"], "summary": "over the river"},
        ],
        label="summary",
        text="document",
        keys={"summary_text", "sentences", "scores"},
        item="The quick fox walked. A dog looked over the fence.",
    ),
    "fill-mask": Sample(
        rows=[
            {"text": "the [MASK] fox", "label": "Quick"},
            {"text": "a [MASK] walked", "label": ["dog"]},
            {"text": LONG + "[MASK] [MASK]", "label": ["the", "fox"]},
        ],
        label="label",
        text="text",
        keys={"score", "token", "token_str", "sequence"},
        item="the [MASK] fox",
        learns=False,
    ),
    "feature-extraction": Sample(
        rows=[
            {"sentence1": "the fox", "sentence2": "a dog", "score": 0.5},
            {"sentence1": "the brown bear", "sentence2": "the bear", "score": 4.25},
            {"sentence1": LONG, "sentence2": "a river", "score": 2},
        ],
        label="score",
        text="sentence2",
        keys={"score"},
        item="the fox",
        learns=False,
    ),
}


def records(name: str, labelled: bool = True) -> list[Any]:
    """Understand the rows of a kind."""
    kind, rows = KINDS[name], SAMPLES[name].rows
    places = [Row(f"rows.jsonl, line {n}", row, None) for n, row in enumerate(rows, 1)]
    return [kind.record(row, Columns(), labelled) for row in places]


def task(name: str, reading: Reading = READING) -> Task:
    """Make a task as fine-tuning does."""
    if SAMPLES[name].learns:
        made = KINDS[name].learn(records(name), reading, None)
        return replace(made, writing=WRITING) if isinstance(made, Rewriting) else made
    return KINDS[name].restore((), {}, reading)


def save(name: str, folder: Path, reading: Reading = READING) -> str:
    """Save a tiny model of a kind as fine-tuning does; gives its folder."""
    made = task(name, reading)
    kept = {**made.config(), "unmask": {"task": name, "reading": asdict(reading)}}
    model = tiny.pretrained(tiny.tokenizer(), KINDS[name].head, labels=made.labels)
    huggingface.write(replace(model, config=kept), folder)
    return str(folder)
