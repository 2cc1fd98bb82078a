"""Examples of one text, the fetching of examples, and the documents that are held out."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stores
from unmask.data.chains import reached
from unmask.data.examples import gather, split_documents
from unmask.data.pairs import plan_pairs
from unmask.data.singles import plan_singles
from unmask.errors import UserError
from unmask.text.template import BERT

SHAPES = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=25), min_size=1, max_size=6)


@given(SHAPES, st.integers(3, 60))
def test_singles_hold_each_token_once_and_as_many_sentences_as_fit(
    shape: list[list[int]], length: int
) -> None:
    planned = plan_singles(
        stores.memory(shape), np.arange(len(shape)), seed=0, epoch=0, length=length, template=BERT
    )
    expected, begin = [], 0
    for sentences in shape:
        # The parts of a sentence that is too long count as sentences.
        parts = [
            min(length - 2, size - at) for size in sentences for at in range(0, size, length - 2)
        ]
        filled = 0
        for part in parts:
            if filled + part > length - 2:
                expected.append((begin, filled))
                begin, filled = begin + filled, 0
            filled += part
        expected.append((begin, filled))
        begin += filled
    found = zip(planned.starts[:, 0].tolist(), planned.sizes[:, 0].tolist(), strict=True)
    assert sorted(found) == expected
    assert planned.labels is None


def test_singles_are_shuffled_anew_each_epoch() -> None:
    store = stores.memory(stores.shape(0, documents=20, sentences=20, tokens=20))
    orders = [
        plan_singles(store, np.arange(20), seed=seed, epoch=epoch, length=32, template=BERT)
        .starts[:, 0]
        .tolist()
        for seed, epoch in [(0, 0), (0, 0), (0, 1), (1, 0)]
    ]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


def test_singles_need_a_document() -> None:
    with pytest.raises(UserError, match="memory: there are no documents"):
        plan_singles(stores.memory([[5]]), np.arange(0), seed=0, epoch=0, length=8, template=BERT)


def test_a_pair_is_laid_out_as_bert_has_it(tmp_path: Path) -> None:
    documents = [[[10, 11], [12]], [[20, 21], [22]]]
    store = stores.write(tmp_path, documents, vocab_size=50, shards=2)
    planned = plan_pairs(store, np.arange(2), seed=0, epoch=0, length=32, template=BERT)
    packed = gather(store, planned, np.arange(len(planned)), stores.vocabulary(50))
    assert packed.segments is not None
    assert packed.labels is not None
    assert packed.labels.tolist() == planned.labels.tolist()  # type: ignore[union-attr]
    texts = {(1, 0): ([10, 11], [12]), (2, 0): ([20, 21], [22])}
    for row, (first, last) in enumerate(pairwise(packed.cu_seqlens.tolist())):
        ids, segments = packed.ids[first:last].tolist(), packed.segments[first:last].tolist()
        a, b = texts[ids[1] // 10, 0]
        if packed.labels[row] == 0:
            assert ids == [2, *a, 3, *b, 3]
        assert segments == [0] * (len(a) + 2) + [1] * (last - first - len(a) - 2)
        assert ids[0] == 2
        assert [place for place, token in enumerate(ids) if token == 3] == [3, last - first - 1]


@given(SHAPES, st.integers(0, 99), st.booleans(), st.data())
def test_gathering_fetches_the_planned_tokens(
    shape: list[list[int]], seed: int, paired: bool, data: st.DataObject
) -> None:
    store, documents = stores.memory([*shape, [3, 4], [5]]), np.arange(len(shape) + 2)
    planner = plan_pairs if paired else plan_singles
    planned = planner(store, documents, seed=seed, epoch=0, length=24, template=BERT)
    rows = data.draw(st.lists(st.integers(0, len(planned) - 1), min_size=1, max_size=9))
    packed = gather(store, planned, np.array(rows), stores.vocabulary())
    ids, segments, bounds = [], [], [0]
    for row in rows:
        ids.append(2)
        segments.append(0)
        for text, (start, size) in enumerate(
            zip(planned.starts[row].tolist(), planned.sizes[row].tolist(), strict=True)
        ):
            ids += [*range(start, start + size), 3]
            segments += [text] * (size + 1)
        bounds.append(len(ids))
    assert packed.ids.tolist() == ids
    assert packed.cu_seqlens.tolist() == bounds
    assert np.diff(bounds).tolist() == planned.lengths[rows].tolist()
    assert packed.ids.dtype == packed.cu_seqlens.dtype == np.int64
    if packed.segments is not None and packed.labels is not None:
        assert packed.segments.tolist() == segments
        assert packed.segments.dtype == packed.labels.dtype == np.int64
    assert (packed.segments is not None) == paired


@given(st.integers(1, 60), st.data())
def test_chains_are_followed_like_one_by_one(count: int, data: st.DataObject) -> None:
    following = np.array([data.draw(st.integers(at + 1, count)) for at in range(count)])
    stop = np.full(count, data.draw(st.integers(1, count)))
    at, expected = 0, []
    while True:
        expected.append(at)
        at = int(following[at])
        if at >= stop[0]:
            break
    assert reached(np.array([0]), following, stop).tolist() == expected


@given(st.integers(4, 500), st.floats(0.001, 0.999), st.integers(0, 99))
def test_held_out_documents_are_a_fixed_share(count: int, fraction: float, seed: int) -> None:
    train, held = split_documents(count, fraction, seed)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(count))
    assert len(held) == min(max(2, round(count * fraction)), count - 2)
    assert (split_documents(count, fraction, seed)[1] == held).all()
    assert (np.diff(held) > 0).all()
    assert (np.diff(train) > 0).all()


def test_another_seed_holds_out_other_documents() -> None:
    assert split_documents(1000, 0.1, 0)[1].tolist() != split_documents(1000, 0.1, 1)[1].tolist()


def test_more_documents_move_few_between_the_parts() -> None:
    _, few = split_documents(1000, 0.1, 0)
    train, _ = split_documents(1100, 0.1, 0)
    assert np.isin(few, train).sum() < 25


def test_too_few_documents_cannot_be_split() -> None:
    with pytest.raises(UserError, match="documents: 3, too few to hold some"):
        split_documents(3, 0.5, 0)
