"""Examples as token ranges: what is planned for an epoch, and gathered batch by batch.

n examples of P texts each (P is 2 for pairs), T tokens and B sequences of a batch, S sentences.
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
    """(n,) int8, 0 where B follows A and 1 where it does not; None where examples are no pairs."""
    special: int
    """Special tokens of each sequence."""
    lone: int = 0
    """Sentences left alone at the end of a document: they serve as a random B only."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64, tokens of each sequence, special tokens included."""
        return np.asarray(self.sizes.sum(axis=1, dtype=np.int64) + self.special)

    def take(self, rows: np.ndarray | slice) -> "Plan":
        """Some of the examples, in the given order."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, starts=self.starts[rows], sizes=self.sizes[rows], labels=labels)

    def shuffle(self, seed: int, epoch: int) -> "Plan":
        """Bring the examples into a random order."""
        order = np.random.Generator(np.random.Philox(key=int(address(seed, epoch))))
        return self.take(order.permutation(len(self)))


class Planner(Protocol):
    """Plans an epoch over some documents of a store; `plan_pairs` and `plan_singles` are such."""

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
    starts, sizes = plan.starts[rows], plan.sizes[rows]  # (B, P)
    frame = vocabulary.frames[starts.shape[1] - 1]
    lengths = sizes.sum(axis=1, dtype=np.int64) + frame.special  # (B,)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.empty(cu_seqlens[-1], dtype=np.int64)
    places = np.empty(starts.shape, dtype=np.int64)  # (B, P), where each text goes
    at = cu_seqlens[:-1]  # (B,), how far the sequences are written
    for text, gap in enumerate(frame.gaps):
        for token in gap:
            ids[at] = token
            at = at + 1
        if text < len(frame.gaps) - 1:
            places[:, text] = at
            at = at + sizes[:, text]
    flat = sizes.reshape(-1)  # (B, P) -> (B * P,)
    ids[runs(places.reshape(-1), flat)] = tokens.take(runs(starts.reshape(-1), flat))
    labels = None if plan.labels is None else plan.labels[rows].astype(np.int64)
    return Packed(ids, cu_seqlens, _segments(sizes, frame), labels)


def _segments(sizes: np.ndarray, frame: Frame) -> np.ndarray | None:
    """Number the segments of sequences with texts of these sizes: (B, P) -> (T,); None: all 0."""
    if not frame.runs:
        return None
    covered = [special + sizes[:, texts].sum(axis=1) for _, special, texts in frame.runs]
    numbers = np.tile([segment for segment, _, _ in frame.runs], len(sizes))
    return np.repeat(numbers, np.stack(covered, axis=1).reshape(-1))


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


def reached(begin: np.ndarray, following: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Follow all chains at once: which of S items are on the way from `begin`.

    following: (S,) the next item of each, always a later one; a chain ends at `stop`: (S,). Returns
    the items, ascending. Each round doubles the steps that `jump` takes, so a chain of k items
    needs log2(k) rounds.
    """
    nowhere = len(following)
    jump = np.append(np.where(following < stop, following, nowhere), nowhere)
    seen = np.zeros(nowhere + 1, dtype=bool)
    seen[begin] = True
    while (ahead := jump[np.flatnonzero(seen)]).min(initial=nowhere) < nowhere:
        seen[ahead] = True
        jump = jump[jump]
    return np.flatnonzero(seen[:-1])
