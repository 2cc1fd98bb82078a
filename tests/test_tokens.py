"""A layout knows the place of every token, and fills up batches without counting the fillers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unmask.tokens import Layout, Tokens


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_layout_agrees_with_a_loop_over_the_tokens(lengths: list[int]) -> None:
    layout = Layout.of(lengths)
    places = [(b, i) for b, length in enumerate(lengths) for i in range(length)]
    assert list(zip(layout.sequence_of.tolist(), layout.positions.tolist(), strict=True)) == places
    assert layout.max_seqlen == max(lengths)
    assert layout.cu_seqlens.dtype == torch.int32
    assert layout.cu_seqlens.tolist() == [sum(lengths[:b]) for b in range(len(lengths) + 1)]
    assert [places[t] for t in layout.first] == [(b, 0) for b in range(len(lengths))]
    assert [places[t] for t in layout.last] == [(b, n - 1) for b, n in enumerate(lengths)]
    assert layout.pad_index[layout.unpad_index].tolist() == list(range(len(places)))
    cells = layout.pad_index.view(len(lengths), -1)
    assert (layout.sequence_of[cells] == torch.arange(len(lengths))[:, None]).all()


def test_fillers_are_not_real() -> None:
    assert Layout.of([3, 2]).real == 2
    assert Layout.of([3, 2, 4], real=2).real == 2


@pytest.mark.parametrize("lengths", [[], [3, 0]])
def test_there_are_no_empty_sequences(lengths: list[int]) -> None:
    with pytest.raises(AssertionError, match="sequence"):
        Layout.of(lengths)


def test_everything_moves_to_a_device() -> None:
    there = Tokens(torch.arange(5), Layout.of([3, 2]), torch.zeros(5)).to(torch.device("meta"))
    assert there.segments is not None
    assert there.ids.is_meta
    assert there.segments.is_meta
    assert there.layout.pad_index.is_meta
    assert there.layout.lengths == (3, 2)
