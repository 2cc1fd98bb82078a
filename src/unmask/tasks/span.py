"""Question answering: the stretch of a context that answers a question, or none.

Every token of a sequence, of BERT `[CLS] question [SEP] context [SEP]`, is scored as the first and
as the last of the answer (Devlin et al. 2019, sections 4.2 and 4.3). n tokens of a window, m of
them of the context, B windows of a batch, T tokens, W width.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask.contracts import Labelled, Metric, Prediction, Record
from unmask.data import windows as laying
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.model.cross_entropy import Part, grouped_cross_entropy
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.scores.squad import AnswerScores
from unmask.text.columns import Columns, label, texts
from unmask.text.reading import form
from unmask.text.rows import Row, read_rows
from unmask.text.squad import read_squad
from unmask.text.tokenizer import Encoded, Tokenizer

TEXTS = (("question", "context"),)
"""Usual names of the columns of the question and of what it is about."""
ANSWERS = ("answers",)
"""Usual name of the column of the answers."""
UNANSWERABLE = "version_2_with_negative"
"""Says in a config.json that a question may have no answer, by the name that the field gives it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question(Record):
    """A question about a context; its label is a tuple of right answers, empty where none is."""

    id: str
    question: str
    context: str
    start: int = 0
    """The character of the context at which the first of the right answers begins."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage(Window):
    """A question with a part of its context, which is the second text."""

    offsets: np.ndarray
    """(m, 2) int32, the characters of each context token: from, up to but not including."""
    own: np.ndarray
    """(m,) bool, the tokens that have their most context in this window."""


Span = tuple[float, int, int]
"""A possible answer: its score, and its characters in the context."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionAnswering:
    """Find where a context answers a question."""

    reading: Reading
    unanswerable: bool
    """Whether a question may have no answer: the token that stands for the sequence, `[CLS]` of
    BERT, then says so."""
    labels: tuple[str, ...] = ()
    ranked: bool = True

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task."""
        return {UNANSWERABLE: True} if self.unanswerable else {}

    def windows(self, records: Sequence[Question], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out each question with its context, in as many windows as that needs."""
        questions = tokenizer.encode_batch([record.question for record in records])
        found: list[list[Window]] = []
        read: tuple[str, Encoded] | None = None
        for record, question in zip(records, questions, strict=True):
            if read is None or read[0] != record.context:  # neighbours often share a context
                read = record.context, tokenizer.encode(record.context)
                offsets = np.array(read[1].offsets, dtype=np.int32).reshape(-1, 2)
            found.append(self._windows(record, question, read[1].ids, offsets, tokenizer))
        return found

    def _windows(
        self,
        record: Question,
        question: list[int],
        context: list[int],
        offsets: np.ndarray,
        tokenizer: Tokenizer,
    ) -> list[Window]:
        room = tokenizer.room(self.reading.length, 2)
        most = min(self.reading.query, room // 2)
        room -= min(len(question), most)
        parts = laying.sliding(len(context), room, min(self.reading.stride, room // 2))
        best = laying.richest(parts, len(context))
        answer = _tokens_of(record, offsets)
        found: list[Window] = []
        for number, (start, end) in enumerate(parts):
            laid = tokenizer.lay(question[:most], context[start:end])
            first = laid.starts[1]
            target = None if record.label is None else (laid.summary, laid.summary)
            if answer is not None and start <= answer[0] and answer[1] < end:
                target = (first + answer[0] - start, first + answer[1] - start)
            found.append(
                Passage(
                    laid=laid,
                    target=target,
                    cut=len(question) > most,
                    offsets=offsets[start:end],
                    own=best[start:end] == number,
                )
            )
        return found

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be trained on by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end; labels are (2, B) int64: the first tokens, and the last."""
        tokens = laying.lay(windows)
        rows, sizes = torch.arange(len(tokens.ids)), tokens.layout.lengths
        if windows[0].target is None:
            return Labelled(tokens, rows, None, sizes)
        labels = torch.tensor([window.target for window in windows]).T
        return Labelled(tokens, rows, labels, sizes, {"task": len(windows)})

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Mean of the cross-entropies of the first token and of the last, within its window."""
        assert batch.labels is not None, "training needs labels"
        scores = head.spans(encoder(batch.tokens)).T  # (T, 2) -> (2, T)
        both = grouped_cross_entropy(scores.flatten(), batch.sizes * 2, batch.labels.flatten())
        assert both.correct is not None, "places have scores"
        return {"task": Part(both.total / 2, both.correct / 2)}

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> list[Tensor]:
        """Score each token of each window as the first and as the last: (n, 2)."""
        scores = head.spans(encoder(batch.tokens)).float()  # (T, 2)
        return list(scores.split(batch.sizes))  # type: ignore[no-untyped-call]

    def combine(
        self, record: Question, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Rank the best spans of all windows, and no answer among them where that is allowed.

        No answer has the lowest of the windows' scores for it, and stands first where that is
        higher than the best span's by more than the threshold. Probabilities are over those kept.
        """
        found = [span for pair in zip(windows, outputs, strict=True) for span in self._spans(*pair)]
        found = sorted(found, reverse=True)[: self.reading.candidates]
        ranked = [(score, score, start, end) for score, start, end in found]
        unanswered = None
        if self.unanswerable:
            none = min(
                float(scores[window.laid.summary].sum())
                for window, scores in zip(windows, outputs, strict=True)
            )
            ranked.append((none - self.reading.null_threshold, none, 0, 0))
            score, start, end = found[0] if found else (-math.inf, 0, 0)
            unanswered = none - score, record.context[start:end]
        ranked.sort(key=lambda one: -one[0])
        shares = torch.tensor([score for _, score, _, _ in ranked]).softmax(0).tolist()
        results: list[dict[str, Any]] = [
            {"score": share, "start": start, "end": end, "answer": record.context[start:end]}
            for share, (_, _, start, end) in zip(shares, ranked, strict=True)
        ]
        results = results or [{"score": 0.0, "start": 0, "end": 0, "answer": ""}]
        return Prediction(
            results=results[:top_k],
            answer=results[0]["answer"],
            confidence=results[0]["score"],
            cut=any(window.cut for window in windows),
            unanswered=unanswered,
        )

    def _spans(self, window: Window, scores: Tensor) -> Iterator[Span]:
        """Join the best first tokens of a window's own with the best last ones."""
        assert isinstance(window, Passage), "made by `windows`"
        kept = min(self.reading.candidates, len(window.own))
        begin = window.laid.starts[1]
        first, last = scores[begin : begin + len(window.own)].T  # (m,) each
        first = first.masked_fill(~torch.from_numpy(window.own), -torch.inf)
        firsts, lasts = first.topk(kept), last.topk(kept)
        totals = firsts.values[:, None] + lasts.values  # (kept, kept)
        tokens = lasts.indices - firsts.indices[:, None] + 1  # (kept, kept)
        totals = totals.masked_fill((tokens < 1) | (tokens > self.reading.answer), -torch.inf)
        best = totals.flatten().topk(min(self.reading.candidates, totals.numel()))
        for total, cell in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if total > -torch.inf:
                start, end = firsts.indices[cell // kept], lasts.indices[cell % kept]
                yield total, int(window.offsets[start, 0]), int(window.offsets[end, 1])

    def metric(self) -> Metric:
        """Begin an evaluation."""
        return AnswerScores()

    def written(self, pairs: Iterable[tuple[Question, Prediction]]) -> Iterator[str]:
        """Write predictions as SQuAD's own script wants them: a JSON object, ids to answers."""
        before = "{"
        for record, prediction in pairs:
            told = (json.dumps(text, ensure_ascii=False) for text in (record.id, prediction.answer))
            yield before + ": ".join(told)
            before = ",\n"
        yield "{}\n" if before == "{" else "}\n"

    def shown(self, record: Question) -> str:
        """Write the question and the context."""
        return f"{record.question} | {record.context}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweringKind:
    """The kind of task."""

    name: str = "question-answering"
    head: str = "question-answering"
    length: int = 384

    def rows(self, path: str) -> Iterator[Row]:
        """Read SQuAD JSON (.json), or a file of rows."""
        return read_squad(path) if form(path) == ".json" else read_rows(path)

    def record(self, row: Row, columns: Columns, labelled: bool) -> Question:
        """Understand a row. Raises UserError, naming it, when it lacks something.

        An answer must stand in the context where it claims to stand.
        """
        found = texts(row, columns, TEXTS)
        if len(found) != 2:
            raise UserError(f"{row.place}: {len(found)} texts; give a question and its context")
        given: dict[str, Any] = {
            "place": row.place,
            "id": str(row.fields.get("id", row.place)),
            "question": found[0],
            "context": found[1],
        }
        if not labelled:
            return Question(**given)
        answers = _answers(row, columns)
        for text, start in answers:
            _check(row.place, found[1], text, start)
        right = tuple(text for text, _ in answers)
        return Question(**given, label=right, start=answers[0][1] if answers else 0)

    def direct(self, value: Any, place: str) -> Question:
        """Understand a question and its context: a tuple, or a mapping of columns."""
        if isinstance(value, tuple) and len(value) == 2:
            value = dict(zip(TEXTS[0], value, strict=True))
        if not isinstance(value, Mapping):
            raise UserError(f"{place}: {value!r} is not a question with its context")
        return self.record(Row(place, dict(value), None), Columns(), False)

    def learn(
        self,
        records: Iterable[Question],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> QuestionAnswering:
        """Find out whether questions may have no answer, as in SQuAD v2.0."""
        if weights is not None:
            raise UserError("class weights are for tasks with labels; answers have none")
        without = sum(not record.label for record in records)
        return _answering(reading, without > 0)

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> QuestionAnswering:
        """Make the task that a saved model was fine-tuned for."""
        return _answering(reading, bool(config.get(UNANSWERABLE, False)))


TASK = AnsweringKind()


def _answering(reading: Reading, unanswerable: bool) -> QuestionAnswering:
    """Make the task; unanswerable: whether questions may have no answer, if nothing is said."""
    told = reading.unanswerable
    return QuestionAnswering(reading=reading, unanswerable=unanswerable if told is None else told)


def _tokens_of(record: Question, offsets: np.ndarray) -> tuple[int, int] | None:
    """Find the context tokens of the first of the right answers: the first one and the last."""
    if not record.label:
        return None
    starts, ends = offsets.T  # (tokens of the context,) each
    first = int(np.searchsorted(ends, record.start, side="right"))
    last = int(np.searchsorted(starts, record.start + len(record.label[0]), side="left")) - 1
    return (first, last) if first <= last else None


def _answers(row: Row, columns: Columns) -> list[tuple[Any, Any]]:
    """Give the answers of a row, each as a text and the character where it begins.

    As SQuAD has them, a list of objects, or as tables do, an object of two lists. Raises UserError
    where they are neither, and for a SQuAD question without any that does not say so.
    """
    given = label(row, columns, ANSWERS)
    if row.fields.get("is_impossible"):
        return []
    if isinstance(given, list) and not given:
        raise UserError(
            f"{row.place}: no answers; a question that has none needs is_impossible: true"
        )
    try:
        if isinstance(given, Mapping):
            return list(zip(given["text"], given["answer_start"], strict=True))
        return [(one["text"], one["answer_start"]) for one in given]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{row.place}: the answers are {given!r}, not of the form"
            ' [{"text": "...", "answer_start": 0}]'
        ) from None


def _check(place: str, context: str, text: Any, start: Any) -> None:
    """Refuse an answer that does not stand in the context where it claims to."""
    if not isinstance(text, str) or not text or type(start) is not int:
        raise UserError(f"{place}: {text!r} at {start!r} is no answer: a text and a whole number")
    found = context[max(0, start) : max(0, start) + len(text)]
    if start < 0 or found != text:
        raise UserError(
            f"{place}: the answer {text!r} does not stand at character {start:,} of the context;"
            f" there stands {found!r}; correct answer_start"
        )
