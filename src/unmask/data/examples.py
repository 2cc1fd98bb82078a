"""Examples as token ranges: what is planned for an epoch, and gathered batch by batch.

n examples of P texts each (P is 2 where there are pairs; a text of size 0 is absent), T tokens and
B sequences of a batch, S sentences.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from unmask.data.draws import address, below, uniform
from unmask.data.masking import Vocabulary
from unmask.data.packing import Packed, runs
from unmask.data.store import Shards, Store
from unmask.errors import UserError
from unmask.text.template import Frame, Template

_BLOCK = 1 << 20  # sentences that are planned at once: it bounds the memory, and nothing else


@dataclass(frozen=True, slots=True)
class Plan:
    """The examples of an epoch, as ranges of tokens."""

    starts: np.ndarray
    """(n, P) int64, where each text starts among the tokens."""
    sizes: np.ndarray
    """(n, P) int32, tokens of each text."""
    labels: np.ndarray | None
    """(n,) int8, 0 where B follows A and 1 where it does not; None where that is not asked."""
    special: tuple[int, int]
    """Special tokens of a sequence of one text, and of two."""
    languages: np.ndarray | None = None
    """(n, P) int8, the number of each text's language; None where it is not told."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64, tokens of each sequence, special tokens included."""
        special = np.array(self.special)[np.count_nonzero(self.sizes, axis=1) - 1]
        return np.asarray(self.sizes.sum(axis=1, dtype=np.int64) + special)

    def take(self, rows: np.ndarray | slice) -> "Plan":
        """Some of the examples, in the given order."""
        labels = None if self.labels is None else self.labels[rows]
        languages = None if self.languages is None else self.languages[rows]
        starts, sizes = self.starts[rows], self.sizes[rows]
        return replace(self, starts=starts, sizes=sizes, labels=labels, languages=languages)

    def shuffle(self, seed: int, epoch: int) -> "Plan":
        """Bring the examples into a random order."""
        order = np.random.Generator(np.random.Philox(key=int(address(seed, epoch))))
        return self.take(order.permutation(len(self)))


class Planner(Protocol):
    """Plans an epoch over some documents of a store; `plan_pairs` and others are such."""

    def __call__(
        self,
        store: Store,
        documents: np.ndarray,
        *,
        seed: int,
        epoch: int,
        length: int,
        template: Template,
    ) -> Plan:
        """Plan sequences of at most `length` tokens, as a function of seed, epoch and documents."""
        ...


def gather(tokens: Store | Shards, plan: Plan, rows: np.ndarray, vocabulary: Vocabulary) -> Packed:
    """Fetch examples of a plan, laid out as the vocabulary's template says: (B,) rows of it."""
    plan = plan.take(rows)
    starts, sizes, lengths = plan.starts, plan.sizes, plan.lengths  # (B, P), (B, P), (B,)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.empty(cu_seqlens[-1], dtype=np.int64)
    places = np.zeros(starts.shape, dtype=np.int64)  # (B, P), where each text goes
    texts = np.count_nonzero(sizes, axis=1)  # (B,)
    segments = None
    for count in np.unique(texts).tolist():
        own, frame = np.flatnonzero(texts == count), vocabulary.frames[count - 1]
        at = cu_seqlens[own]  # (own,), how far these sequences are written
        for text, gap in enumerate(frame.gaps):
            for token in gap:
                ids[at] = token
                at = at + 1
            if text < count:
                places[own, text] = at
                at = at + sizes[own, text]
        numbers = _segments(sizes[own, :count], frame)
        if own.size == len(rows):
            segments = numbers
        elif numbers is not None:
            segments = np.zeros_like(ids) if segments is None else segments
            segments[runs(cu_seqlens[own], lengths[own])] = numbers
    flat = sizes.reshape(-1)  # (B, P) -> (B * P,)
    ids[runs(places.reshape(-1), flat)] = tokens.take(runs(starts.reshape(-1), flat))
    labels = None if plan.labels is None else plan.labels.astype(np.int64)
    packed = Packed(ids, cu_seqlens, segments, labels)
    return packed if plan.languages is None else _spoken(packed, plan.languages, places, texts)


def _segments(sizes: np.ndarray, frame: Frame) -> np.ndarray | None:
    """Number the segments of sequences with texts of these sizes: (B, P) -> (T,); None: all 0."""
    if not frame.runs:
        return None
    covered = [special + sizes[:, texts].sum(axis=1) for _, special, texts in frame.runs]
    numbers = np.tile([segment for segment, _, _ in frame.runs], len(sizes))
    return np.repeat(numbers, np.stack(covered, axis=1).reshape(-1))


def _spoken(packed: Packed, languages: np.ndarray, places: np.ndarray, texts: np.ndarray) -> Packed:
    """Tell each token its language, and let the positions of a translation begin anew.

    languages: (B, P), of each text; the special tokens around a text have its language. places:
    (B, P), where each text begins. texts: (B,), how many a sequence has. The second text of a
    translation has the positions of the first (Lample and Conneau 2019, section 3.3).
    """
    bounds = packed.cu_seqlens
    begin = places.copy()
    begin[:, 0] = bounds[:-1]
    begin[:, 1:][texts == 1] = bounds[1:][texts == 1, None]
    size = np.diff(begin, axis=1, append=bounds[1:, None]).reshape(-1)  # (B, P) -> (B * P,)
    spoken = np.repeat(languages.reshape(-1).astype(np.int64), size)
    translated = (languages != languages[:, :1]) & (np.arange(languages.shape[1]) < texts[:, None])
    if not translated.any():
        return replace(packed, languages=spoken)
    zero = bounds[:-1, None] + np.where(translated, places - places[:, :1], 0)  # (B, P)
    positions = np.arange(packed.ids.size) - np.repeat(zero.reshape(-1), size)
    return replace(packed, languages=spoken, positions=positions)


def split_documents(count: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split documents 0, ..., count - 1 into those to train on and those held out, both ascending.

    A hash of document and seed decides. Each part has at least the two documents that sentence
    pairs need; raises UserError when there are too few for that.
    """
    if count < 4:
        raise UserError(
            f"documents: {count}, too few to hold some of them out and make pairs of the others. "
            "Separate documents by blank lines, or give a token store of held-out text."
        )
    held = min(max(2, round(count * fraction)), count - 2)
    order = np.argsort(uniform(below(address(seed), np.arange(count)), 0), kind="stable")
    return np.sort(order[held:]), np.sort(order[:held])


@dataclass(frozen=True, slots=True)
class Sentences:
    """S sentences of a block of documents, laid end to end."""

    starts: np.ndarray
    """(S,) int64, where each starts among the tokens of the store."""
    bounds: np.ndarray
    """(S + 1,) int64, where each starts among the tokens of the block."""
    document: np.ndarray
    """(S,) int64, the document of each, counted among those that are planned."""
    stop: np.ndarray
    """(S,) int64, the sentence behind the last one of its document."""
    key: np.ndarray
    """(S,) uint64, the address of its random numbers."""

    @property
    def first(self) -> np.ndarray:
        """The first sentence of each document."""
        return np.flatnonzero(np.diff(self.document, prepend=-1))


def blocks(store: Store, documents: np.ndarray, key: np.uint64) -> Iterator[Sentences]:
    """Read the sentences of some documents, some documents at a time; key: of seed and epoch."""
    counts = store.document_starts[documents + 1] - store.document_starts[documents]
    block = np.cumsum(counts) // _BLOCK
    for part in np.split(np.arange(len(documents)), np.flatnonzero(np.diff(block)) + 1):
        first = store.document_starts[documents[part]]
        sentence = runs(first, counts[part])  # (S,)
        document = np.repeat(part, counts[part])
        starts = store.sentence_starts[sentence]
        sizes = store.sentence_starts[sentence + 1] - starts
        keys = below(key, documents[document])
        yield Sentences(
            starts=starts,
            bounds=np.concatenate([[0], np.cumsum(sizes)]),
            document=document,
            stop=np.repeat(np.cumsum(counts[part]), counts[part]),
            key=below(keys, sentence - np.repeat(first, counts[part])),
        )
