"""Packing: every sequence once, within the budget, and the budget well used."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stores
from unmask.data.packing import LOOKAHEAD, cut, runs
from unmask.data.pairs import plan_pairs
from unmask.text.template import BERT


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9)), max_size=9))
def test_runs_lie_end_to_end(pieces: list[tuple[int, int]]) -> None:
    starts, sizes = (np.array([piece[i] for piece in pieces], dtype=np.int64) for i in (0, 1))
    expected = [start + i for start, size in pieces for i in range(size)]
    assert runs(starts, sizes).tolist() == expected


def batches(
    sizes: list[int], tokens: int, sequences: int | None = None, final: bool = True
) -> list[list[int]]:
    left = np.arange(len(sizes))
    return [rows.tolist() for rows, _ in cut(np.array(sizes), left, tokens, sequences, final)]


SIZES = st.lists(st.integers(1, 50), max_size=300)


@given(SIZES, st.integers(50, 400), st.none() | st.integers(1, 12))
def test_each_sequence_is_in_one_batch_within_the_budget(
    sizes: list[int], tokens: int, sequences: int | None
) -> None:
    made = batches(sizes, tokens, sequences)
    assert sorted(row for batch in made for row in batch) == list(range(len(sizes)))
    first = 0
    seen: set[int] = set()
    for batch in made:
        assert sum(sizes[row] for row in batch) <= tokens
        assert len(batch) <= (sequences or len(batch))
        assert batch[0] == first  # so that none waits for ever
        seen.update(batch)
        while first in seen:
            first += 1


@given(SIZES, st.integers(50, 400), st.none() | st.integers(1, 12))
def test_a_batch_does_not_depend_on_what_comes_later(
    sizes: list[int], tokens: int, sequences: int | None
) -> None:
    settled = batches(sizes, tokens, sequences, final=False)
    more = batches(sizes + [7] * 500, tokens, sequences)
    assert more[: len(settled)] == settled
    missing = len(sizes) - sum(map(len, settled))
    assert missing <= LOOKAHEAD + tokens


def test_room_is_filled_from_what_comes_next() -> None:
    assert batches([60, 60, 30, 50, 10], 100) == [[0, 2, 4], [1], [3]]
    assert batches([60, 60, 30, 50, 10], 100, sequences=2) == [[0, 2], [1, 4], [3]]
    far = [60] + [60] * LOOKAHEAD + [40]
    assert batches(far, 100)[0] == [0]
    near = [60] + [60] * (LOOKAHEAD - 1) + [40]
    assert batches(near, 100)[0] == [0, LOOKAHEAD]


def test_sequences_are_counted_where_the_recipe_counts_them() -> None:
    rng = np.random.default_rng(0)
    made = batches(rng.integers(5, 129, 5000).tolist(), 32 * 128, sequences=32)
    assert {len(batch) for batch in made[:-1]} == {32}
    assert [row for batch in made for row in batch] == list(range(5000))


@pytest.mark.parametrize(("length", "tokens"), [(128, 4096), (512, 4096), (128, 16384)])
def test_nearly_all_of_the_budget_is_real_tokens_on_pairs(length: int, tokens: int) -> None:
    rng = np.random.default_rng(0)
    store = stores.memory(
        [np.clip(rng.lognormal(2.9, 0.7, 150), 1, 200).astype(int).tolist() for _ in range(600)]
    )
    planned = plan_pairs(store, np.arange(600), seed=0, epoch=0, length=length, template=BERT)
    made = list(cut(planned.lengths, np.arange(len(planned)), tokens))
    real = sum(planned.lengths[rows].sum() for rows, _ in made)
    assert real / (len(made) * tokens) >= 0.97
