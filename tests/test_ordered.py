"""Sentence order prediction: neighbours, half of them the wrong way round."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stores
from unmask.data.examples import Plan
from unmask.data.pairs import plan_ordered
from unmask.errors import UserError
from unmask.text.template import BERT

SHAPES = st.lists(st.lists(st.integers(1, 15), min_size=1, max_size=12), min_size=1, max_size=6)


def plan(shape: Sequence[Sequence[int]], epoch: int = 0, length: int = 32) -> Plan:
    store = stores.memory(shape)
    return plan_ordered(
        store, np.arange(len(shape)), seed=0, epoch=epoch, length=length, template=BERT
    )


@given(shape=SHAPES.filter(lambda shape: any(len(sizes) > 1 for sizes in shape)))
def test_pairs_are_neighbours_and_the_label_tells_their_order(shape: list[list[int]]) -> None:
    planned = plan(shape)
    assert planned.labels is not None
    swapped = planned.labels == 1
    assert (swapped == (planned.starts[:, 1] < planned.starts[:, 0])).all()
    starts = np.where(swapped[:, None], planned.starts[:, ::-1], planned.starts)
    sizes = np.where(swapped[:, None], planned.sizes[:, ::-1], planned.sizes)
    assert sizes.min() > 0
    assert planned.lengths.max() <= 32
    # Between the two texts lies nothing but what was cut off for the length.
    whole = planned.lengths < 32
    assert (starts[whole, 0] + sizes[whole, 0] == starts[whole, 1]).all()
    document = np.repeat(np.arange(len(shape)), [sum(sizes) for sizes in shape])
    assert (document[starts[:, 0]] == document[starts[:, 1] + sizes[:, 1] - 1]).all()
    covered = np.concatenate(
        [np.arange(s, s + n) for s, n in zip(starts.ravel(), sizes.ravel(), strict=True)]
    )
    assert np.unique(covered).size == covered.size  # each token is read at most once


def test_half_are_swapped_anew_each_epoch() -> None:
    shape = stores.shape(0, documents=1500, sentences=30, tokens=12)
    first, second = plan(shape), plan(shape, epoch=1)
    assert first.labels is not None
    assert second.labels is not None
    assert first.labels.mean() == pytest.approx(0.5, abs=0.03)
    assert first.starts.tolist() != second.starts.tolist()
    # Lengths hardly betray the order: a chunk ends behind the sentence that reaches its target, and
    # that is a longer one more often than others are.
    for half in (0, 1):
        sizes = first.sizes[first.labels == half].mean(axis=0)
        assert sizes == pytest.approx(first.sizes.mean(axis=0), rel=0.1)


def test_lone_sentences_make_no_pairs() -> None:
    assert sorted(plan([[3], [4, 5]]).sizes[0].tolist()) == [4, 5]
    with pytest.raises(UserError, match="no document has two sentences"):
        plan([[3], [4]])
