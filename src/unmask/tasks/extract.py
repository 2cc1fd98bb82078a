"""Extractive summarization: the sentences of a text that say what is most important in it.

Each sentence has special tokens of its own, of BERT `[CLS] ... [SEP]`, and neighbours have unlike
segments; the state of the token that stands for a sentence goes to one score (BertSum: Liu and
Lapata 2019, https://arxiv.org/abs/1908.08345, its simple classifier). Training wants the sentences
that make the best summary. M sentences of a batch, m of a window.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.contracts import Labelled, Metric, Prediction
from unmask.data import windows as laying
from unmask.data.windows import Reading, Window
from unmask.model.cross_entropy import Part
from unmask.model.heads import Head
from unmask.model.transformer import Transformer
from unmask.rewriting import OF_TASKS, lines, unweighted
from unmask.scores.rouge import Rouge, oracle
from unmask.tasks.summarize import Document, DocumentKind
from unmask.text.template import Laid
from unmask.text.tokenizer import Tokenizer

NAME = "extractive-summarization"
LABEL = "summary"
"""What the one score of a sentence is called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage(Window):
    """Sentences that are read together."""

    rows: np.ndarray
    """(m,) int64, the tokens that stand for them."""
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Extraction:
    """Choose the sentences of a summary."""

    reading: Reading
    labels: tuple[str, ...] = (LABEL,)
    ranked: bool = True

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task: its name."""
        return {OF_TASKS: {NAME: {}}}

    def windows(self, records: Sequence[Document], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay out whole sentences, as many as fit into a window; longer ones lose their ends."""
        divided = [record.divided() or ("",) for record in records]
        ids = iter(tokenizer.encode_batch([one for sentences in divided for one in sentences]))
        return [
            self._windows(record, sentences, [next(ids) for _ in sentences], tokenizer)
            for record, sentences in zip(records, divided, strict=True)
        ]

    def _windows(
        self,
        record: Document,
        sentences: Sequence[str],
        ids: Sequence[list[int]],
        tokenizer: Tokenizer,
    ) -> list[Window]:
        length, wanted = self.reading.length, None
        room = tokenizer.room(length, 1)
        laid = [tokenizer.lay(own[:room]) for own in ids]
        if record.label is not None:
            best = oracle(sentences, record.label, self.reading.sentences)
            wanted = np.isin(np.arange(len(laid)), best).astype(np.float32)
        parts = _parts([len(one.ids) for one in laid], length)
        kept = parts[:1] if self.reading.long == "truncate" else parts
        lost = len(kept) < len(parts) or any(len(own) > room for own in ids)
        return [
            Passage(
                laid=_joined(laid[start:end], bool(tokenizer.frames[1].runs)),
                target=None if wanted is None else wanted[start:end],
                cut=lost,
                rows=_rows(laid[start:end]),
                sentences=tuple(sentences[start:end]),
            )
            for start, end in kept
        ]

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Let each window be trained on by itself."""
        return [[window] for window in windows]

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end; labels are (M,) float32 of 0 and 1."""
        passages = [window for window in windows if isinstance(window, Passage)]
        tokens = laying.lay(passages)
        starts = tokens.layout.first.tolist()
        found = [own.rows + start for own, start in zip(passages, starts, strict=True)]
        rows, sizes = torch.from_numpy(np.concatenate(found)), tuple(map(len, found))
        if passages[0].target is None:
            return Labelled(tokens, rows, None, sizes)
        labels = torch.from_numpy(np.concatenate([own.target for own in passages]))
        return Labelled(tokens, rows, labels, sizes, {"task": len(labels)})

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Cross-entropy of each sentence being in the summary or not."""
        assert batch.labels is not None, "training needs labels"
        scores = self._scores(encoder, head, batch)  # (M,)
        total = F.binary_cross_entropy_with_logits(scores, batch.labels, reduction="sum")
        return {"task": Part(total, ((scores > 0) == (batch.labels > 0)).sum())}

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> Sequence[Tensor]:
        """Score each sentence of each window: (m,)."""
        scores = self._scores(encoder, head, batch)  # (M,)
        return scores.split(list(batch.sizes))  # type: ignore[no-any-return,no-untyped-call]

    def _scores(self, encoder: Transformer, head: Head, batch: Labelled) -> Tensor:
        return head.classify(encoder(batch.tokens), batch.rows)[:, 0].float()  # (M, 1) -> (M,)

    def combine(
        self, record: Document, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Join the sentences of the highest scores, in the order of the text."""
        passages = [window for window in windows if isinstance(window, Passage)]
        read = [sentence for passage in passages for sentence in passage.sentences]
        scores = torch.cat(list(outputs)).sigmoid()
        best = scores.topk(min(self.reading.sentences, len(read)))
        chosen = sorted(best.indices.tolist())
        text = " ".join(read[place] for place in chosen)
        return Prediction(
            results=[
                {
                    "summary_text": text,
                    "sentences": chosen,
                    "scores": [float(scores[place]) for place in chosen],
                }
            ],
            answer=text,
            confidence=float(best.values.mean()),
            cut=any(window.cut for window in windows),
        )

    def metric(self) -> Metric:
        """Begin an evaluation."""
        return Rouge()

    def written(self, pairs: Iterable[tuple[Document, Prediction]]) -> Iterator[str]:
        """Write a summary a line."""
        return lines(prediction for _, prediction in pairs)

    def shown(self, record: Document) -> str:
        """Write the text."""
        return record.text


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractionKind(DocumentKind):
    """The kind of task."""

    name: str = NAME
    head: str = "token-classification"

    def learn(
        self,
        records: Iterable[Document],
        reading: Reading,
        weights: Mapping[str, float] | str | None,
    ) -> Extraction:
        """Make the task; sentences need no names. Raises UserError for weights."""
        unweighted(weights)
        return Extraction(reading=reading)

    def restore(
        self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading
    ) -> Extraction:
        """Make the task that a saved model was fine-tuned for."""
        return Extraction(reading=reading, labels=labels)


TASK = ExtractionKind()


def _parts(sizes: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Divide sentences of so many tokens into windows: from, up to but not including."""
    starts, used = [0], 0
    for place, size in enumerate(sizes):
        if used + size > length:
            starts.append(place)
            used = 0
        used += size
    return list(zip(starts, [*starts[1:], len(sizes)], strict=True))


def _rows(laid: Sequence[Laid]) -> np.ndarray:
    """Find the tokens that stand for sentences laid end to end."""
    before = [0, *accumulate(len(one.ids) for one in laid)][:-1]
    return np.array([start + one.summary for start, one in zip(before, laid, strict=True)])


def _joined(laid: Sequence[Laid], apart: bool) -> Laid:
    """Lay sentences end to end; apart: whether neighbours have segments 0 and 1 by turns."""
    ids = np.concatenate([one.ids for one in laid])
    sizes = [len(one.ids) for one in laid]
    segments = None
    if laid[0].segments is not None:  # those of the special tokens, as XLNet has them
        segments = np.concatenate([one.segments for one in laid if one.segments is not None])
    elif apart:
        segments = np.repeat(np.arange(len(laid)) % 2, sizes)
    return Laid(ids, segments, tuple(np.cumsum([0, *sizes[:-1]]).tolist()), 0)
