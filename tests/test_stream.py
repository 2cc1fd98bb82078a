"""The stream: the same sequences in the same order, stopped anywhere, with any number of ranks."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stores
from unmask.data import stream as module
from unmask.data.examples import Planner
from unmask.data.pairs import plan_pairs
from unmask.data.singles import plan_singles
from unmask.data.store import Store
from unmask.data.stream import Source, Step, Stream
from unmask.errors import UserError
from unmask.text.template import BERT

SMALL = stores.memory(stores.shape(0, documents=40, sentences=30, tokens=12))
LARGE = stores.memory(stores.shape(1, documents=200, sentences=30, tokens=12), first=100_000)


def source(store: Store, weight: float = 1.0, planner: Planner = plan_pairs) -> Source:
    documents = np.arange(store.documents_total)
    return Source(store=store, documents=documents, planner=planner, weight=weight)


ONE = Stream(
    sources=[source(SMALL)],
    vocabulary=stores.vocabulary(),
    seed=3,
    length=32,
    tokens=150,
)
MIXED = replace(ONE, sources=[source(LARGE, 3.0), source(SMALL)])
SINGLES = replace(
    ONE, sources=[source(LARGE, 3.0, plan_singles), source(SMALL, planner=plan_singles)]
)
COUNTED = replace(ONE, tokens=8 * 32, sequences=8)
STREAMS = st.sampled_from([ONE, MIXED, SINGLES, COUNTED])


@pytest.fixture(autouse=True, scope="module")
def _short_windows() -> Iterator[None]:
    """Read little ahead: these stores are small, and a window would be many epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WINDOW", 256)
        yield


def content(step: Step) -> tuple[Any, ...]:
    """Tell everything of a batch that training sees, its random numbers included."""
    packed = step.packed
    labels = None if packed.labels is None else packed.labels.tolist()
    draws = step.rng.random(3).tolist()
    return step.number, packed.ids.tolist(), packed.cu_seqlens.tolist(), labels, draws


def together(
    stream: Stream, ranks: int, state: dict[str, Any] | None = None
) -> Iterator[tuple[list[Step], dict[str, Any]]]:
    """Run some ranks side by side: the batches of each round, and the state they agree on."""
    for steps in zip(*(stream.run(state, rank, ranks) for rank in range(ranks)), strict=True):
        states = [step.state for step in steps]
        assert all(one == states[0] for one in states)
        yield list(steps), states[0]


@settings(max_examples=40)
@given(STREAMS, st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), max_size=4))
def test_stopped_anywhere_and_restored_with_any_ranks_it_is_the_same_stream(
    stream: Stream, legs: list[tuple[int, int]]
) -> None:
    found, state = [], None
    for ranks, rounds in legs:
        for steps, after in islice(together(stream, ranks, state), rounds):
            found += [content(step) for step in steps]
            last = after
        state = json.loads(json.dumps(last))  # as a checkpoint keeps it
    whole = [content(step) for step in islice(stream.run(), len(found))]
    assert found == whole
    assert [row[0] for row in found] == list(range(len(found)))


@pytest.mark.parametrize("stream", [ONE, MIXED, SINGLES, COUNTED])
def test_how_far_it_reads_ahead_changes_nothing(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [content(step) for step in islice(stream.run(), 60)]
    states = [step.state for step in islice(stream.run(), 60)]
    monkeypatch.setattr(module, "_WINDOW", 10)
    assert [content(step) for step in islice(stream.run(), 60)] == whole
    assert [step.state for step in islice(stream.run(), 60)] == states


def test_the_state_is_small() -> None:
    sizes = [len(json.dumps(step.state)) for step in islice(MIXED.run(), 300)]
    assert max(sizes) < 600


def texts(steps: list[Step]) -> list[tuple[int, ...]]:
    """List the sequences of some batches."""
    return [
        tuple(step.packed.ids[first:last].tolist())
        for step in steps
        for first, last in pairwise(step.packed.cu_seqlens.tolist())
    ]


def singles(store: Store, first: int = 0) -> list[tuple[int, ...]]:
    """List the sequences of a store whose ids begin at `first`, when each is one text."""
    documents = np.arange(store.documents_total)
    planned = plan_singles(store, documents, seed=0, epoch=0, length=32, template=BERT)
    return [
        (2, *range(first + start, first + start + size), 3)
        for start, size in zip(planned.starts[:, 0], planned.sizes[:, 0], strict=True)
    ]


def test_every_example_of_an_epoch_comes_once_and_each_epoch_is_planned_anew() -> None:
    stream = replace(ONE, sources=[source(SMALL, planner=plan_singles)])
    # Batches look ahead, so parts of a fourth epoch may be there before the third one is over.
    taken: list[Step] = []
    for step in stream.run():
        taken.append(step)
        if step.state["places"][0][0] == 3:
            break
    found = texts(taken)
    counts = {text: found.count(text) for text in singles(SMALL)}
    assert min(counts.values()) >= 3
    assert max(counts.values()) <= 4
    pairs = [text for text in texts(list(islice(ONE.run(), 200))) if len(text) > 20]
    assert len(set(pairs)) > 0.8 * len(pairs)  # these, however, are new ones


def test_stores_are_mixed_by_weight() -> None:
    found = texts(list(islice(SINGLES.run(), 400)))
    share = sum(text[1] >= 100_000 for text in found) / len(found)
    assert share == pytest.approx(0.75, abs=0.03)
    assert set(found) <= set(singles(SMALL) + singles(LARGE, 100_000))
    for window in range(0, len(found) - 100, 100):  # throughout, not one behind the other
        assert 0.5 < sum(text[1] >= 100_000 for text in found[window : window + 100]) / 100 < 0.95


def test_batches_stay_in_the_budget_and_are_sorted_by_length() -> None:
    for step in islice(MIXED.run(), 50):
        lengths = np.diff(step.packed.cu_seqlens)
        assert lengths.sum() <= 150
        assert (np.diff(lengths) >= 0).all()
    assert all(len(step.packed.cu_seqlens) == 9 for step in islice(COUNTED.run(), 50))


def test_held_out_text_is_read_once_and_always_the_same() -> None:
    first, again = ([content(step) for step in MIXED.once()] for _ in range(2))
    assert first == again
    steps = list(SINGLES.once())
    assert sorted(texts(steps)) == sorted(singles(SMALL) + singles(LARGE, 100_000))
    assert [step.number for step in steps] == list(range(len(steps)))


def test_only_the_documents_given_are_read() -> None:
    held = np.array([2, 5, 7])
    stream = replace(ONE, sources=[Source(store=SMALL, documents=held, planner=plan_pairs)])
    starts = SMALL.sentence_starts[SMALL.document_starts]
    allowed = {2, 3} | {
        token for document in held for token in range(starts[document], starts[document + 1])
    }
    assert all(set(text) <= allowed for text in texts(list(islice(stream.run(), 40))))


def test_each_batch_has_random_numbers_of_its_own() -> None:
    assert len({step.rng.random() for step in islice(ONE.run(), 50)}) == 50


def test_another_seed_is_another_stream() -> None:
    other = replace(ONE, seed=4)
    ours, theirs = (next(stream.run()) for stream in (ONE, other))
    assert ours.packed.ids.tolist() != theirs.packed.ids.tolist()
    assert ours.rng.random() != theirs.rng.random()


def test_a_budget_that_holds_no_sequence_is_refused() -> None:
    with pytest.raises(UserError, match="a batch of 31 tokens cannot hold a sequence of 32"):
        replace(ONE, tokens=31)
    with pytest.raises(UserError, match="a sequence of 4 tokens cannot hold two texts"):
        replace(ONE, length=4)
