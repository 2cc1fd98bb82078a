"""Sentence pairs: the rule, step by step, and that nothing but meaning tells real from random."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stores
from unmask.data import examples, pairs
from unmask.data.draws import address, below, choice, uniform
from unmask.data.examples import Plan
from unmask.data.pairs import plan_pairs
from unmask.data.store import Store
from unmask.errors import UserError
from unmask.text.template import BERT

Pair = tuple[int, int, int, int, int]
"""Start and size of A, start and size of B, label."""


def plan(shape: Sequence[Sequence[int]], seed: int = 0, epoch: int = 0, length: int = 32) -> Plan:
    store = stores.memory(shape)
    return plan_pairs(
        store, np.arange(len(shape)), seed=seed, epoch=epoch, length=length, template=BERT
    )


def table(planned: Plan) -> list[Pair]:
    """List the pairs, in the order of their A."""
    assert planned.labels is not None
    columns = (planned.starts[:, 0], planned.sizes[:, 0], planned.starts[:, 1], planned.sizes[:, 1])
    return sorted(zip(*(column.tolist() for column in (*columns, planned.labels)), strict=True))


def reference(shape: Sequence[Sequence[int]], seed: int, epoch: int, length: int) -> list[Pair]:
    """Walk along each document as the rule says, one chunk after the other, with the true B."""
    longest, found, begin = length - 3, [], 0
    for document, sizes in enumerate(shape):
        bounds = (begin + np.cumsum([0, *sizes])).tolist()
        begin, at = bounds[-1], 0
        while at < len(sizes):
            if at == len(sizes) - 1:
                break
            spot = below(below(address(seed, epoch), document), at)
            target = longest
            if uniform(spot, pairs._IS_SHORTER)[0] < 0.1:
                target = 2 + int(choice(spot, pairs._TARGET, longest - 1)[0])
            end = max(bisect_left(bounds, bounds[at] + target), at + 2)
            end = min(end, len(sizes))
            cut = at + 1 + int(choice(spot, pairs._CUT, end - at - 1)[0])
            a, b = [bounds[at], bounds[cut]], [bounds[cut], bounds[end]]
            in_front = [
                bool(uniform(spot, side)[0] < 0.5) for side in (pairs._FRONT_A, pairs._FRONT_B)
            ]
            while a[1] - a[0] + b[1] - b[0] > longest:
                longer = int(a[1] - a[0] <= b[1] - b[0])
                text = (a, b)[longer]
                text[0 if in_front[longer] else 1] += 1 if in_front[longer] else -1
            tails = bool(uniform(spot, pairs._COIN)[0] < 0.5)
            found.append((a[0], a[1] - a[0], b[0], b[1] - b[0], int(tails)))
            at = cut if tails else end
    return found


SHAPES = st.lists(
    st.lists(st.integers(1, 30), min_size=1, max_size=25), min_size=2, max_size=6
).filter(lambda shape: any(len(sentences) > 1 for sentences in shape))


@given(SHAPES, st.integers(0, 99), st.integers(0, 3), st.integers(5, 60))
def test_chunks_follow_the_rule(shape: list[list[int]], seed: int, epoch: int, length: int) -> None:
    planned = plan(shape, seed, epoch, length)
    expected = reference(shape, seed, epoch, length)
    for ours, theirs in zip(table(planned), expected, strict=True):
        assert ours[:2] == theirs[:2]
        assert ours[4] == theirs[4]
        if not ours[4]:
            assert ours == theirs


@given(SHAPES, st.integers(0, 99), st.integers(5, 60))
def test_texts_stay_in_their_documents_and_a_random_b_is_from_another(
    shape: list[list[int]], seed: int, length: int
) -> None:
    ends = np.cumsum([sum(sentences) for sentences in shape])
    expected = reference(shape, seed, 0, length)
    for ours, theirs in zip(table(plan(shape, seed, 0, length)), expected, strict=True):
        a, a_size, b, b_size, label = ours
        assert a_size >= 1
        assert 1 <= b_size <= theirs[3]  # the size of the true B, where there is as much
        assert a_size + b_size + 3 <= length
        first, last = (np.searchsorted(ends, spot, side="right") for spot in (a, a + a_size - 1))
        b_first, b_last = (np.searchsorted(ends, t, side="right") for t in (b, b + b_size - 1))
        assert first == last
        assert b_first == b_last
        assert (first == b_first) == (label == 0)


def test_documents_beside_it_do_not_change_a_document() -> None:
    shape = stores.shape(1, documents=40, sentences=90, tokens=20)
    store = stores.memory(shape)
    some = np.array([3, 11, 12, 30])

    def about(documents: np.ndarray) -> list[tuple[int, ...]]:
        rows = table(plan_pairs(store, documents, seed=5, epoch=2, length=64, template=BERT))
        place = np.searchsorted(store.sentence_starts, [row[0] for row in rows], side="right") - 1
        owner = np.searchsorted(store.document_starts, place, side="right") - 1
        return [
            row if not row[4] else (*row[:2], row[4])
            for row, document in zip(rows, owner, strict=True)
            if document in some
        ]

    alone, among = about(some), about(np.arange(40))
    assert len(alone) > 20
    assert alone == among


def test_blocks_bound_the_memory_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = stores.shape(2, documents=50, sentences=20, tokens=20)
    whole = plan(shape)
    monkeypatch.setattr(examples, "_BLOCK", 30)
    assert table(plan(shape)) == table(whole)
    assert (plan(shape).starts == whole.starts).all()


def test_each_epoch_and_seed_has_its_own_pairs_in_its_own_order() -> None:
    shape = stores.shape(3, documents=20, sentences=30, tokens=20)
    tables = {tuple(table(plan(shape, seed, epoch))) for seed in (0, 1) for epoch in (0, 1)}
    assert len(tables) == 4
    starts = plan(shape).starts[:, 0]
    assert (plan(shape).starts[:, 0] == starts).all()
    assert (np.diff(starts) < 0).mean() == pytest.approx(0.5, abs=0.1)  # shuffled


def test_the_coin_does_not_change_a(monkeypatch: pytest.MonkeyPatch) -> None:
    store = stores.memory(stores.shape(4, documents=90, sentences=60, tokens=25))
    sentences = next(examples.blocks(store, np.arange(90), address(0, 0)))
    texts = []
    for side in (0.0, 1.0):
        monkeypatch.setattr(
            pairs,
            "uniform",
            lambda key, draw, side=side: (
                np.full(key.size, side) if draw == pairs._COIN else uniform(key, draw)
            ),
        )
        chunks, _ = pairs._plan_block(sentences, 125, random=0.5)
        assert (chunks.tails == (side == 0)).all()
        a = zip(chunks.starts[:, 0].tolist(), chunks.sizes.tolist(), strict=True)
        texts.append(
            dict(zip(chunks.key.tolist(), a, strict=True))
        )  # by the chunk's first sentence
    tails, heads = texts
    assert len(tails.keys() & heads.keys()) > 100
    assert all(tails[chunk] == heads[chunk] for chunk in tails.keys() & heads.keys())


def test_targets_are_the_maximum_or_in_a_tenth_of_the_chunks_anything_shorter() -> None:
    planned = plan([[1] * 200_000] * 2, length=53)  # sentences of one token: chunks hit targets
    sizes = planned.sizes.sum(axis=1)
    shorter = sizes[sizes < 50]
    assert shorter.size / sizes.size == pytest.approx(0.1 * 48 / 49, abs=0.01)
    assert set(np.unique(shorter)) == set(range(2, 50))
    assert shorter.mean() == pytest.approx(np.arange(2, 50).mean(), abs=1)


def test_a_chunk_has_two_sentences_even_beyond_the_target() -> None:
    planned = plan([[40] * 100] * 2, length=32)
    assert (planned.sizes.sum(axis=1) == 29).all()
    # Cut to halves, A the longer one, at the front or at the end.
    assert (planned.sizes == [15, 14]).all()
    places = planned.starts[:, 0] % 40
    assert set(places.tolist()) == {0, 25}
    assert (places == 0).mean() == pytest.approx(0.5, abs=0.15)


def test_lone_sentences_serve_as_a_random_b() -> None:
    planned = plan([[5, 5]] + [[5]] * 9, seed=1)
    assert len(planned) == 1
    several = [plan([[5, 5]] + [[5]] * 9, seed=seed) for seed in range(20)]
    used = {row[2] for planned in several for row in table(planned) if row[4]}
    assert len(used) > 3
    assert all(start >= 10 for start in used)
    # Also where other pairs have a B of the same length.
    mixed = [plan([[5, 5]] * 4 + [[5]] * 40, seed=seed) for seed in range(20)]
    random = [row[2] for planned in mixed for row in table(planned) if row[4]]
    assert sum(start >= 40 for start in random) > 0.6 * len(random)


def test_pairs_need_two_documents_and_two_sentences() -> None:
    with pytest.raises(UserError, match=r"memory: sentence pairs need at least two documents"):
        plan([[5, 5, 5]])
    with pytest.raises(UserError, match=r"memory: no document has two sentences"):
        plan([[5], [7]])


def clues(store: Store, planned: Plan) -> dict[str, np.ndarray]:
    """Measure all that could tell a pair's label without reading it."""
    (a, b), (a_size, b_size) = planned.starts.T, planned.sizes.T
    return {
        "size of A": a_size,
        "size of B": b_size,
        "size of both": a_size + b_size,
        "product of the sizes": a_size * b_size,
        "A begins a sentence": np.isin(a, store.sentence_starts),
        "A ends a sentence": np.isin(a + a_size, store.sentence_starts),
        "B begins a sentence": np.isin(b, store.sentence_starts),
        "B ends a sentence": np.isin(b + b_size, store.sentence_starts),
        "sentences of B": np.searchsorted(store.sentence_starts, b + b_size)
        - np.searchsorted(store.sentence_starts, b, side="right"),
    }


def betrayals(store: Store, planned: Plan) -> dict[str, float]:
    """Tell by how many standard errors each clue differs between the labels."""
    assert planned.labels is not None
    tails, errors = planned.labels == 1, {}
    for name, clue in clues(store, planned).items():
        values = clue.astype(float)
        error = values.std() * np.sqrt(1 / tails.sum() + 1 / (~tails).sum())
        errors[name] = abs(values[tails].mean() - values[~tails].mean()) / error
    return errors


@pytest.fixture(scope="module")
def corpus() -> Store:
    """Make a corpus of short and long documents, with sentences as long as those of novels."""
    rng = np.random.default_rng(0)
    counts = np.concatenate([rng.integers(1, 12, 3000), rng.integers(50, 300, 300)])
    return stores.memory(
        [np.clip(rng.lognormal(2.9, 0.7, n), 1, 200).astype(int).tolist() for n in counts]
    )


def test_half_of_the_pairs_are_real_and_nothing_betrays_which(corpus: Store) -> None:
    documents = np.arange(corpus.documents_total)
    planned = plan_pairs(corpus, documents, seed=0, epoch=0, length=128, template=BERT)
    assert planned.labels is not None
    assert len(planned) > 10_000
    assert planned.labels.mean() == pytest.approx(0.5, abs=2 / np.sqrt(len(planned)))
    errors = betrayals(corpus, planned)
    assert max(errors.values()) < 3.5, errors


def test_a_b_that_begins_anywhere_would_betray_itself(
    corpus: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anywhere(
        store: Store, documents: np.ndarray, chunks: pairs._Pairs, lone: pairs._Pairs
    ) -> None:
        rows = np.flatnonzero(chunks.tails)
        begin, size = pairs._draw_runs(store, documents, chunks, rows)
        chunks.starts[rows, 1], chunks.sizes[rows, 1] = begin, size

    monkeypatch.setattr(pairs, "_draw_others", anywhere)
    documents = np.arange(corpus.documents_total)
    planned = plan_pairs(corpus, documents, seed=0, epoch=0, length=128, template=BERT)
    assert betrayals(corpus, planned)["B ends a sentence"] > 10
