"""The resumable stream of packed batches: the same for any number of ranks, exact after a restart.

n sequences of a window, which is read ahead and cut into batches; B sequences of a batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from unmask.data.draws import address, below, uniform
from unmask.data.examples import Plan, Planner, gather
from unmask.data.masking import Vocabulary
from unmask.data.packing import Packed, cut
from unmask.data.store import Shards, Store
from unmask.errors import UserError

_WINDOW = 4096  # sequences that are looked at together, a trade of overhead for memory
_EXAMPLES, _MIXTURE, _BATCH = range(3)  # what the random numbers of a stream are for


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Documents to read, and how often."""

    store: Store
    """The token store."""
    documents: np.ndarray
    """Which of its documents, ascending."""
    planner: Planner
    """Makes the examples: `plan_pairs`, `plan_singles` or another."""
    weight: float = 1.0
    """Share of the sequences, in proportion to the weights of the other sources."""
    languages: Sequence[int] = ()
    """Numbers of the languages of its texts; none where they are not told."""


@dataclass(frozen=True, slots=True)
class Step:
    """One batch of the stream."""

    packed: Packed
    """The sequences, the shortest first: kernels can then work on runs of the same length."""
    number: int
    """Place of the batch in the stream of all ranks, from 0."""
    rng: np.random.Generator
    """For whatever is random about the batch, hidden tokens above all: a function of its number."""
    tokens: int
    """Of this round: of the batches that all ranks have, this one among them."""
    state: dict[str, Any]
    """Where the stream of all ranks goes on, once each rank has had its batch of this round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """Batches of packed examples, from one store or from several mixed by weight.

    Every source is read epoch by epoch, each newly planned; batches run on over the end of an
    epoch. The seed fixes the order of all sequences, and so the batches that are cut from it.
    Raises UserError when a batch has no room for the longest sequence.
    """

    sources: Sequence[Source]
    """At least one."""
    vocabulary: Vocabulary
    """Of the tokenizer that made the stores."""
    seed: int
    """Of the examples, their order, the mixture, and what the batches' own generators give."""
    length: int
    """Longest sequence, special tokens included."""
    tokens: int
    """Most tokens of a batch."""
    sequences: int | None = None
    """Most sequences of a batch, where they are counted too."""

    def __post_init__(self) -> None:
        """Refuse sequences that cannot hold two texts, and batches that cannot hold a sequence."""
        shortest = 2 + self.vocabulary.template.special(2)
        if self.length < shortest:
            raise UserError(
                f"a sequence of {self.length} tokens cannot hold two texts and the special tokens. "
                f"Allow at least {shortest}."
            )
        if self.tokens < self.length:
            raise UserError(
                f"a batch of {self.tokens} tokens cannot hold a sequence of {self.length}. "
                "Allow more tokens a batch, or shorter sequences."
            )

    def run(
        self, state: Mapping[str, Any] | None = None, rank: int = 0, ranks: int = 1
    ) -> Iterator[Step]:
        """Read endlessly from a state on, or from the start; rank r gets every `ranks`-th batch.

        A state is a small JSON object, and the same for any number of ranks.
        """
        shards, batches = self._shards(), self._batches(state or self._start())
        while True:
            round_ = list(islice(batches, ranks))
            yield self._step(shards, round_, rank)

    def once(self) -> Iterator[Step]:
        """Read the first epoch of every source: the same batches each time, then the end.

        For held-out text. The sources are mixed as they come, and the states are empty.
        """
        plan = _join([reader.plan(0) for reader in self._readers()])
        if len(self.sources) > 1:
            plan = plan.shuffle(self.seed, 0)
        left, shards = np.arange(len(plan)), self._shards()
        batches = cut(plan.lengths, left, self.tokens, self.sequences, final=True)
        for number, (rows, _) in enumerate(batches):
            yield self._step(shards, [_Batch(plan.take(rows), number, {})], 0)

    def _start(self) -> dict[str, Any]:
        return {"batch": 0, "sequence": 0, "ahead": [], "places": [[0, 0] for _ in self.sources]}

    def _shards(self) -> Shards:
        """Address the tokens of all stores as if they were one."""
        return Shards([ids for source in self.sources for ids in source.store.shards.arrays])

    def _readers(self) -> list["_Reader"]:
        bases = np.cumsum([0, *(source.store.tokens_total for source in self.sources)]).tolist()
        return [
            _Reader(self, index, source, base)
            for index, (source, base) in enumerate(zip(self.sources, bases, strict=False))
        ]

    def _batches(self, state: Mapping[str, Any]) -> Iterator["_Batch"]:
        """Cut the sequences behind a state into batches, a window at a time.

        In a state, `sequence` is the first one not in a batch yet, `places` is where that one and
        its like stand in their sources, and `ahead` lists those behind it that are in one.
        """
        readers, size = self._readers(), _WINDOW
        while True:
            begin = state
            source = self._mixture(begin["sequence"], size)
            plan = _draw(readers, begin["places"], source)
            unread = np.delete(np.arange(size), begin["ahead"])
            for rows, left in cut(plan.lengths, unread, self.tokens, self.sequences):
                first = int(left[0])
                state = {
                    "batch": state["batch"] + 1,
                    "sequence": begin["sequence"] + first,
                    "ahead": _gaps(left - first),
                    "places": _advance(readers, begin["places"], source[:first]),
                }
                yield _Batch(plan.take(rows), state["batch"] - 1, state)
            if state is begin:  # not even one batch: look further ahead
                size *= 2

    def _mixture(self, first: int, size: int) -> np.ndarray:
        """Choose the source of `size` sequences, from the one numbered `first` on: (size,)."""
        share = np.cumsum([source.weight for source in self.sources])
        draws = uniform(below(address(self.seed, _MIXTURE), np.arange(first, first + size)), 0)
        return np.asarray(np.searchsorted(share[:-1], draws * share[-1], side="right"))

    def _step(self, shards: Shards, round_: Sequence["_Batch"], rank: int) -> Step:
        batch = round_[rank]
        tokens = sum(int(one.plan.lengths.sum()) for one in round_)
        rows = np.argsort(batch.plan.lengths, kind="stable")
        packed = gather(shards, batch.plan, rows, self.vocabulary)
        key = int(address(self.seed, _BATCH, batch.number))
        rng = np.random.Generator(np.random.Philox(key=key))
        return Step(packed, batch.number, rng, tokens, round_[-1].state)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch before it is gathered."""

    plan: Plan
    number: int
    state: dict[str, Any]


class _Reader:
    """Reads the examples of a source in order; a place is an epoch and an example of it."""

    def __init__(self, stream: Stream, index: int, source: Source, base: int) -> None:
        self._stream, self._source, self._base = stream, source, base
        self._seed = int(address(stream.seed, _EXAMPLES, index))
        self._plans: dict[int, Plan] = {}

    def plan(self, epoch: int) -> Plan:
        """Plan an epoch, its tokens addressed among those of all sources."""
        if epoch not in self._plans:
            plan = self._source.planner(
                self._source.store,
                self._source.documents,
                seed=self._seed,
                epoch=epoch,
                length=self._stream.length,
                template=self._stream.vocabulary.template,
            )
            self._plans[epoch] = replace(
                plan, starts=plan.starts + self._base, languages=self._spoken(plan)
            )
        return self._plans[epoch]

    def _spoken(self, plan: Plan) -> np.ndarray | None:
        """Number the language of each text of a plan: (n, P); None where they are not told.

        A planner that knows several has counted them within the source.
        """
        if not self._source.languages:
            return None
        numbers = np.array(self._source.languages, dtype=np.int8)
        own = np.zeros(plan.sizes.shape, int) if plan.languages is None else plan.languages
        return np.asarray(numbers[own])

    def read(self, place: Sequence[int], count: int) -> Plan:
        """Read examples from a place on; epochs before it are forgotten."""
        epoch, row = place
        self._plans = {known: plan for known, plan in self._plans.items() if known >= epoch}
        parts = [self.plan(epoch).take(slice(row, row + count))]
        while (missing := count - sum(map(len, parts))) > 0:
            epoch += 1
            parts.append(self.plan(epoch).take(slice(0, missing)))
        return _join(parts)

    def advance(self, place: Sequence[int], count: int) -> list[int]:
        """Find the place behind `count` more examples."""
        epoch, row = place[0], place[1] + count
        while row > len(self.plan(epoch)):
            row -= len(self.plan(epoch))
            epoch += 1
        return [epoch, row]


def _draw(readers: Sequence[_Reader], places: Sequence[Sequence[int]], source: np.ndarray) -> Plan:
    """Read the coming sequences: source: (n,) the reader of each -> a plan of n examples."""
    counts = np.bincount(source, minlength=len(readers)).tolist()
    parts = [
        reader.read(place, n) for reader, place, n in zip(readers, places, counts, strict=True)
    ]
    order = np.argsort(source, kind="stable")  # (n,), where the examples of each reader go
    return _join(parts).take(np.argsort(order, kind="stable"))


def _advance(
    readers: Sequence[_Reader], places: Sequence[Sequence[int]], source: np.ndarray
) -> list[list[int]]:
    """Find the places behind some sequences: source: (n,) the reader of each."""
    counts = np.bincount(source, minlength=len(readers)).tolist()
    return [
        reader.advance(place, n) for reader, place, n in zip(readers, places, counts, strict=True)
    ]


def _gaps(ascending: np.ndarray) -> list[int]:
    """List the whole numbers that a series from 0 on leaves out."""
    absent = np.ones(ascending[-1] + 1, dtype=bool)
    absent[ascending] = False
    return [int(gap) for gap in np.flatnonzero(absent)]


def _join(plans: Sequence[Plan]) -> Plan:
    """Put plans behind each other; those of fewer texts get columns of absent ones."""
    texts = max(plan.starts.shape[1] for plan in plans)
    told = {(plan.labels is None, plan.languages is None) for plan in plans}
    assert len(told) == 1, "the sources of a stream tell the same of their examples"

    def joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        """Join a column of the plans, absent texts filled up; None where no plan has it."""
        there = [part for part in parts if part is not None]
        if not there:
            return None
        if there[0].ndim == 2:
            there = [np.pad(part, ((0, 0), (0, texts - part.shape[1]))) for part in there]
        return np.concatenate(there)

    starts = joined([plan.starts for plan in plans])
    sizes = joined([plan.sizes for plan in plans])
    assert starts is not None, "every plan has texts"
    assert sizes is not None, "every plan has texts"
    return Plan(
        starts,
        sizes,
        joined([plan.labels for plan in plans]),
        plans[0].special,
        joined([plan.languages for plan in plans]),
    )
