"""What transformers' example scripts do, without their Trainer: one class a script, one loop.

Three settings of it. FLOAT32 is a script as it comes: run_glue and run_qa fill every sequence up to
the length limit, run_ner and run_swag fill up to the longest of a batch, and nothing is sorted.
BFLOAT16 is what the scripts are advised to be run with: bfloat16 by autocast, each batch filled
up to its longest sequence. GROUPED has batches of similar lengths besides (`group_by_length`): it
is faster still, but its batches are no random draws any more. So it is scored by it but for STS-B,
where it loses 0.08 by it. All have the fused AdamW that is the scripts' default.

A script's class makes features of examples, and beside each a note: what has to be known of it to
make an answer of its scores. N sequences, L pieces of the longest, C labels or choices.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    get_linear_schedule_with_warmup,
    set_seed,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from finetuning_clock import STEADY, Steps, spread
from finetuning_data import BATCH, DECAY, FOLDER, WARMUP, Example, Work, read, score, start

Feature = dict[str, Any]
Notes = list[Any]
Features = tuple[list[Feature], Notes]
Logits = list[NDArray[np.float32]]
Spans = Sequence[tuple[int, int] | None]
"""Characters of each piece of the text that is asked about; None for all other pieces."""
KEEP_SECONDS = 60.0
"""Between two times that a run is kept, to go on from."""
NBEST, LONGEST = 20, 30
"""Starts and ends of answers that are looked at, and pieces of an answer at most."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a script is run."""

    bfloat16: bool
    """Products in bfloat16 by autocast."""
    dynamic: bool
    """Sequences and pairs are filled up to the longest of their batch, not to the limit."""
    grouped: bool
    """Batches hold sequences of similar lengths."""


FLOAT32 = Setting(bfloat16=False, dynamic=False, grouped=False)
BFLOAT16 = Setting(bfloat16=True, dynamic=True, grouped=False)
GROUPED = Setting(bfloat16=True, dynamic=True, grouped=True)
SETTINGS = {"float32": FLOAT32, "bfloat16": BFLOAT16, "grouped": GROUPED}


class Texts:
    """run_glue: one or two texts to a label or a number."""

    auto = AutoModelForSequenceClassification

    def __init__(self, work: Work, tokenizer: Any, examples: Sequence[Example]) -> None:
        self.work, self.tokenizer = work, tokenizer
        self.number = work.task == "regression"
        self.labels = [] if self.number else sorted({row[work.target] for row in examples})
        self.outputs = {"num_labels": 1 if self.number else len(self.labels)}
        self.collate = DataCollatorWithPadding(tokenizer)

    def features(self, examples: Sequence[Example], fill: bool, train: bool) -> Features:
        columns = [[row[name] for row in examples] for name in self.work.texts]
        padding = "max_length" if fill else False
        made = self.tokenizer(
            *columns, truncation=True, max_length=self.work.length, padding=padding
        )
        found = rows(made)
        if train:
            for row, example in zip(found, examples, strict=True):
                right = example[self.work.target]
                row["labels"] = float(right) if self.number else self.labels.index(right)
        return found, [None] * len(found)

    def answers(self, examples: Sequence[Example], notes: Notes, logits: Logits) -> list[Any]:
        if self.number:
            return [row[0] for row in logits]
        return [self.labels[row.argmax()] for row in logits]


class Words:
    """run_ner: a tag for each word, predicted at its first piece."""

    auto = AutoModelForTokenClassification

    def __init__(self, work: Work, tokenizer: Any, examples: Sequence[Example]) -> None:
        self.work, self.tokenizer = work, tokenizer
        self.labels = sorted({tag for row in examples for tag in row["tags"]})
        self.outputs = {"num_labels": len(self.labels)}
        self.collate = DataCollatorForTokenClassification(tokenizer)

    def features(self, examples: Sequence[Example], fill: bool, train: bool) -> Features:
        made = self.tokenizer(
            [row["words"] for row in examples],
            is_split_into_words=True,
            truncation=True,
            max_length=self.work.length,
        )
        found = rows(made)
        notes = [firsts(made.word_ids(number)) for number in range(len(found))]
        if train:
            for row, places, example in zip(found, notes, examples, strict=True):
                row["labels"] = [-100] * len(row["input_ids"])
                for word, place in places.items():
                    row["labels"][place] = self.labels.index(example["tags"][word])
        return found, notes

    def answers(self, examples: Sequence[Example], notes: Notes, logits: Logits) -> list[Any]:
        found = []
        for example, places, row in zip(examples, notes, logits, strict=True):
            tags = ["O"] * len(example["tags"])  # of words that were cut off
            for word, place in places.items():
                tags[word] = self.labels[row[place].argmax()]
            found.append(tags)
        return found


class Choices:
    """run_swag: the best of some endings."""

    auto = AutoModelForMultipleChoice

    def __init__(self, work: Work, tokenizer: Any, examples: Sequence[Example]) -> None:
        self.work, self.tokenizer, self.outputs = work, tokenizer, {}
        self.collate = DataCollatorForMultipleChoice(tokenizer)

    def features(self, examples: Sequence[Example], fill: bool, train: bool) -> Features:
        found: list[Feature] = []
        for example in examples:
            contexts = [example["context"]] * len(example["choices"])
            made = self.tokenizer(
                contexts, example["choices"], truncation=True, max_length=self.work.length
            )
            found.append({**made, "labels": example["label"]})  # the collator wants a label
        return found, [None] * len(found)

    def answers(self, examples: Sequence[Example], notes: Notes, logits: Logits) -> list[Any]:
        return [int(row.argmax()) for row in logits]


class Questions:
    """run_qa: the piece of a text that answers a question, searched for in windows."""

    auto = AutoModelForQuestionAnswering

    def __init__(self, work: Work, tokenizer: Any, examples: Sequence[Example]) -> None:
        self.work, self.tokenizer, self.outputs = work, tokenizer, {}
        self.collate = DataCollatorWithPadding(tokenizer)

    def features(self, examples: Sequence[Example], fill: bool, train: bool) -> Features:
        made = self.tokenizer(
            [row["question"].lstrip() for row in examples],
            [row["context"] for row in examples],
            truncation="only_second",
            max_length=self.work.length,
            stride=self.work.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length" if fill else False,
        )
        owners, offsets = made.pop("overflow_to_sample_mapping"), made.pop("offset_mapping")
        found, notes = rows(made), []
        for number, (owner, row) in enumerate(zip(owners, offsets, strict=True)):
            sides = made.sequence_ids(number)
            spans = [span if side == 1 else None for span, side in zip(row, sides, strict=True)]
            notes.append((owner, spans))
            if train:
                answer = examples[owner]["answers"][0]
                begin = answer["answer_start"]
                place = cover(spans, begin, begin + len(answer["text"]))
                found[number]["start_positions"], found[number]["end_positions"] = place
        return found, notes

    def answers(self, examples: Sequence[Example], notes: Notes, logits: Logits) -> list[Any]:
        best = [(-math.inf, "")] * len(examples)
        for (owner, spans), row in zip(notes, logits, strict=True):
            found = best_span(spans, row)
            if found is not None and found[0] > best[owner][0]:
                text = examples[owner]["context"][found[1] : found[2]]
                best[owner] = (found[0], text)
        return [text for _, text in best]


KINDS: dict[str, Callable[..., Any]] = {
    "text-classification": Texts,
    "regression": Texts,
    "token-classification": Words,
    "multiple-choice": Choices,
    "question-answering": Questions,
}


def rows(made: Any) -> list[Feature]:
    """Turn what the tokenizer made, lists by name, into one feature a sequence."""
    return [dict(zip(made, values, strict=True)) for values in zip(*made.values(), strict=True)]


def firsts(words: Sequence[int | None]) -> dict[int, int]:
    """Give the place of each word's first piece, from the word of each piece."""
    places: dict[int, int] = {}
    for place, word in enumerate(words):
        if word is not None:
            places.setdefault(word, place)
    return places


def cover(spans: Spans, begin: int, end: int) -> tuple[int, int]:
    """Give the first and last piece of an answer; `[CLS]` where a window lacks a part of it."""
    inside = [place for place, span in enumerate(spans) if span is not None]
    if not inside or spans[inside[0]][0] > begin or spans[inside[-1]][1] < end:
        return 0, 0
    first = max(place for place in inside if spans[place][0] <= begin)
    last = min(place for place in inside if spans[place][1] >= end)
    return first, last


def best_span(spans: Spans, logits: NDArray[np.float32]) -> tuple[float, int, int] | None:
    """Find the best answer of a window among the best starts and ends: its score and characters.

    `logits`: (L, 2) of starts and ends.
    """
    starts, ends = (np.argsort(-logits[:, side])[:NBEST].tolist() for side in (0, 1))
    found = [
        (float(logits[first, 0] + logits[last, 1]), spans[first][0], spans[last][1])
        for first in starts
        for last in ends
        if spans[first] is not None and spans[last] is not None
        if first <= last < first + LONGEST
    ]
    return max(found, key=lambda answer: answer[0], default=None)


class Run:
    """A model in training: its features, its optimizer, and one step after another."""

    def __init__(self, work: Work, seed: int, setting: Setting, limit: int | None = None) -> None:
        self.work, self.setting, self.limit = work, setting, limit
        examples = read(work.files()[0])[:limit]
        tokenizer = AutoTokenizer.from_pretrained(start())
        self.kind = KINDS[work.task](work, tokenizer, examples)
        set_seed(seed)
        self.model = self.kind.auto.from_pretrained(start(), **self.kind.outputs)
        self.model.train()
        self.features, _ = self.kind.features(examples, fill=not setting.dynamic, train=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.total = math.ceil(len(self.features) / BATCH) * work.epochs
        named = list(self.model.named_parameters())
        bare = [p for name, p in named if name.endswith("bias") or "LayerNorm" in name]
        decayed = [p for name, p in named if not (name.endswith("bias") or "LayerNorm" in name)]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": DECAY}, {"params": bare, "weight_decay": 0.0}],
            lr=work.rate,
            fused=True,
        )
        warmup = math.ceil(WARMUP * self.total)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, warmup, self.total)

    def epoch(self) -> list[list[int]]:
        """Draw the batches of an epoch, as numbers of features."""
        sizes = lengths(self.features)
        if self.setting.grouped:
            sampler = LengthGroupedSampler(BATCH, lengths=sizes, generator=self.generator)
            return list(BatchSampler(sampler, BATCH, drop_last=False))
        order = torch.randperm(len(sizes), generator=self.generator)
        return [part.tolist() for part in order.split(BATCH)]

    def batch(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Lay the features of a batch out as rows."""
        return self.kind.collate([self.features[number] for number in numbers])

    def step(self, batch: dict[str, Tensor]) -> float:
        """Learn from one batch; gives the loss."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.setting.bfloat16):
            loss = self.model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def train(self, kept: Path) -> list[float]:
        """Train to the end, from where `kept` was written; gives the mean loss of each epoch."""
        losses: list[float] = self._resume(kept) if kept.exists() else []
        begun, saved = len(losses), time.monotonic()
        steps = (numbers for _ in range(self.work.epochs) for numbers in self.epoch())
        for number, numbers in enumerate(steps):
            if number < begun:
                continue
            losses.append(self.step(self.batch(numbers)))
            if time.monotonic() - saved > KEEP_SECONDS:
                self._keep(kept, losses)
                saved = time.monotonic()
                print(
                    f"{self.work.name} {len(losses):,}/{self.total:,} {losses[-1]:.4f}", flush=True
                )
        return [float(part.mean()) for part in np.array_split(losses, self.work.epochs)]

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}

    def _keep(self, path: Path, losses: list[float]) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({**state, "random": torch.get_rng_state(), "losses": losses}, path)

    def _resume(self, path: Path) -> list[float]:
        state = torch.load(path)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        losses: list[float] = state["losses"]
        return losses

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Answer the file to be scored on, in float32 and sorted by length."""
        self.model.eval()
        examples = read(self.work.files()[1])[: self.limit]
        features, notes = self.kind.features(examples, fill=False, train=False)
        order = np.argsort(lengths(features), kind="stable")
        logits: Logits = [np.empty(0, np.float32)] * len(features)
        for places in np.split(order, range(BATCH, len(order), BATCH)):
            out = self.model(**self.kind.collate([features[place] for place in places]))
            both = self.work.task == "question-answering"
            # (N, C), (N, L, C), or for questions (N, L, 2)
            made = torch.stack([out.start_logits, out.end_logits], -1) if both else out.logits
            for place, row in zip(places, made.numpy(), strict=True):
                logits[place] = row[: len(notes[place][1])] if both else row
        return score(self.work, examples, self.kind.answers(examples, notes, logits))


def lengths(features: Sequence[Feature]) -> list[int]:
    """Give the pieces of each sequence, or of the longest of its choices."""
    return [
        max(map(len, ids)) if isinstance(ids[0], list) else len(ids)
        for ids in (row["input_ids"] for row in features)
    ]


def run(work: Work, seed: int, limit: int | None = None) -> dict[str, Any]:
    """Fine-tune and score once; goes on where it was stopped."""
    job = Run(work, seed, GROUPED if work.grouped else BFLOAT16, limit)
    kept = FOLDER / "kept" / f"{work.name}-{seed}-{work.epochs}-{work.rate}-{limit}.pt"
    losses = job.train(kept)
    metrics = job.score()
    kept.unlink(missing_ok=True)
    return {"metrics": metrics, "losses": losses, "steps": job.total}


def steps(work: Work, setting: Setting, count: int) -> Steps:
    """Make ready to take steps of the first batches, for the clock."""
    job = Run(work, 0, setting)
    drawn: list[list[int]] = []
    while len(drawn) < STEADY:
        drawn += job.epoch()
    batches = [job.batch(numbers) for numbers in spread(drawn[:STEADY], count)]
    return Steps(
        take=lambda number: job.step(batches[number]),
        tokens=[int(batch["attention_mask"].sum()) for batch in batches],
        examples=[len(batch["attention_mask"]) for batch in batches],
    )
