"""Masking: exact counts, the shares of what happens to a token, and what is never touched."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stores
import tiny
from unmask.data.masking import Masked, Masking, Vocabulary, mask
from unmask.errors import UserError

VOCABULARY = stores.vocabulary(2000, continues=range(1000, 2000))


def batch(lengths: list[int], seed: int = 0, unknown: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw sequences `[CLS] ... [SEP]` of so many ordinary tokens, some of them [UNK]."""
    rng = np.random.default_rng(seed)
    parts = []
    for length in lengths:
        ids = rng.integers(stores.FIRST, 2000, length)
        ids[rng.random(length) < unknown] = 1
        parts.append(np.concatenate([[2], ids, [3]]))
    return np.concatenate(parts), np.cumsum([0, *(length + 2 for length in lengths)])


def hide(ids: np.ndarray, bounds: np.ndarray, seed: int = 0, **masking: object) -> Masked:
    rng = np.random.Generator(np.random.Philox(key=seed))
    return mask(ids, bounds, VOCABULARY, Masking(**masking), rng)


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
    probability=st.sampled_from([0.05, 0.15, 0.5, 1.0]),
)
def test_each_sequence_has_exactly_its_share(
    lengths: list[int], seed: int, probability: float
) -> None:
    ids, bounds = batch(lengths, seed, unknown=0.2)
    masked = hide(ids, bounds, seed, probability=probability)
    ordinary = ids >= stores.FIRST
    for first, last in pairwise(bounds.tolist()):
        count = ordinary[first:last].sum()
        expected = min(count, max(1, round(probability * int(count))))
        assert ((masked.rows >= first) & (masked.rows < last)).sum() == expected
    assert (np.diff(masked.rows) > 0).all()
    assert ordinary[masked.rows].all()
    assert (masked.labels == ids[masked.rows]).all()
    untouched = np.setdiff1d(np.arange(ids.size), masked.rows)
    assert (masked.ids[untouched] == ids[untouched]).all()


def test_the_shares_on_a_hundred_thousand_tokens() -> None:
    ids, bounds = batch([125] * 800)
    masked = hide(ids, bounds)
    seen, labels = masked.ids[masked.rows], masked.labels
    assert masked.rows.size / 100_000 == pytest.approx(0.15, abs=0.01)
    assert (seen == VOCABULARY.mask).mean() == pytest.approx(0.8, abs=0.01)
    assert (seen == labels).mean() == pytest.approx(0.1, abs=0.01)
    other = seen[(seen != VOCABULARY.mask) & (seen != labels)]
    assert other.size / labels.size == pytest.approx(0.1, abs=0.01)
    # From the whole vocabulary, pieces that continue words included, and never a special token.
    assert other.min() >= stores.FIRST
    assert np.histogram(other, bins=5, range=(0, 2000))[0] == pytest.approx(other.size / 5, rel=0.2)


def test_every_place_of_a_sequence_is_chosen_alike() -> None:
    ids, bounds = batch([20] * 5000)
    places = hide(ids, bounds).rows % 22
    counts = np.bincount(places, minlength=22)
    assert counts[[0, 21]].tolist() == [0, 0]
    assert counts[1:21] == pytest.approx(np.full(20, 750), rel=0.15)


def test_the_generator_alone_decides() -> None:
    ids, bounds = batch([30] * 20)
    assert hide(ids, bounds, 1).rows.tolist() == hide(ids, bounds, 1).rows.tolist()
    assert hide(ids, bounds, 1).rows.tolist() != hide(ids, bounds, 2).rows.tolist()


def test_ids_that_came_in_stay_as_they_were() -> None:
    ids, bounds = batch([30] * 20)
    before = ids.copy()
    hide(ids, bounds, probability=1.0)
    assert (ids == before).all()


def _words(ids: np.ndarray) -> list[list[int]]:
    """List the tokens of each word, by a plain walk along the tokens."""
    words: list[list[int]] = []
    for place, token in enumerate(ids.tolist()):
        if token < stores.FIRST:
            continue
        follows = place > 0 and ids[place - 1] >= stores.FIRST
        if VOCABULARY.continues[token] and follows:
            words[-1].append(place)
        else:
            words.append([place])
    return words


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
    probability=st.sampled_from([0.05, 0.15, 0.5]),
)
def test_whole_words_are_never_split(lengths: list[int], seed: int, probability: float) -> None:
    ids, bounds = batch(lengths, seed, unknown=0.1)
    rows = set(hide(ids, bounds, seed, probability=probability, whole_word=True).rows.tolist())
    words = _words(ids)
    assert all(rows.issuperset(word) or rows.isdisjoint(word) for word in words)
    for first, last in pairwise(bounds.tolist()):
        inside = [word for word in words if first <= word[0] < last]
        count = sum(map(len, inside))
        chosen = [len(word) for word in inside if word[0] in rows]
        wanted = min(count, max(1, round(probability * count)))
        # As near to it as words allow: one more, or one less, would be further away.
        assert abs(sum(chosen) - wanted) <= max(map(len, inside), default=0) - 1 or not wanted
        assert bool(chosen) == bool(inside)


def test_single_tokens_do_split_words() -> None:
    ids, bounds = batch([40] * 20)
    rows = set(hide(ids, bounds).rows.tolist())
    assert any(rows.intersection(word) and not rows.issuperset(word) for word in _words(ids))


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(probability: float) -> None:
    with pytest.raises(UserError, match=r"masking\.probability"):
        Masking(probability=probability)


def test_a_vocabulary_is_taken_from_a_tokenizer() -> None:
    tokenizer = tiny.tokenizer()
    vocabulary = Vocabulary.of(tokenizer)
    named = tokenizer.tokens([vocabulary.ids[role] for role in ("cls", "sep", "mask")])
    assert named == ["[CLS]", "[SEP]", "[MASK]"]
    assert len(vocabulary.ordinary) == tokenizer.vocab_size - 5
    assert all(not piece.startswith("[") for piece in tokenizer.tokens(vocabulary.ordinary[:20]))


def _lengths(rows: np.ndarray) -> list[int]:
    """Give the length of each run of neighbouring rows."""
    return [len(run) for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)]


def test_runs_have_the_lengths_of_the_law_and_make_the_share() -> None:
    ids, bounds = batch([400] * 500)
    rows = hide(ids, bounds, probability=0.02, longest=3).rows
    assert rows.size / 200_000 == pytest.approx(0.02, abs=0.001)
    lengths = np.bincount(_lengths(rows), minlength=4)[1:4]
    # So few are chosen that they hardly ever touch: 1, 1/2 and 1/3, of eleven sixths.
    assert lengths / lengths.sum() == pytest.approx([6 / 11, 3 / 11, 2 / 11], abs=0.02)


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    seed=st.integers(0, 1000),
    longest=st.integers(2, 5),
    whole_word=st.booleans(),
)
def test_runs_of_words_are_never_split_and_stay_near_their_share(
    lengths: list[int], seed: int, longest: int, whole_word: bool
) -> None:
    ids, bounds = batch(lengths, seed, unknown=0.1)
    rows = hide(ids, bounds, seed, longest=longest, whole_word=whole_word).rows
    assert (ids[rows] >= stores.FIRST).all()
    assert np.unique(rows).size == rows.size
    words = _words(ids) if whole_word else [[row] for row in np.flatnonzero(ids >= stores.FIRST)]
    chosen = set(rows.tolist())
    assert all(chosen.issuperset(word) or chosen.isdisjoint(word) for word in words)
    largest = max(map(len, words), default=0)
    for first, last in pairwise(bounds.tolist()):
        count = int((ids[first:last] >= stores.FIRST).sum())
        wanted = min(count, max(1, round(0.15 * count)))
        found = int(((rows >= first) & (rows < last)).sum())
        assert abs(found - wanted) <= longest * largest
        assert bool(found) == bool(count)


def test_a_run_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"masking\.longest"):
        Masking(longest=0)
