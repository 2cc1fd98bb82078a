"""Translations side by side: languages, positions, and how they mix with running text."""

from itertools import islice

import numpy as np
import pytest

import stores
from unmask.data.examples import gather
from unmask.data.singles import plan_singles
from unmask.data.stream import Source, Stream
from unmask.data.translations import plan_translations
from unmask.errors import UserError
from unmask.text.template import BERT, XLM

PAIRS = stores.memory([[3, 5], [2, 2], [9, 1], [4, 12]], first=100)


def planned(epoch: int = 0, length: int = 64):
    return plan_translations(PAIRS, np.arange(4), seed=0, epoch=epoch, length=length, template=XLM)


def test_both_sentences_of_a_document_are_read_either_way_round() -> None:
    orders = set()
    for epoch in range(20):
        plan = planned(epoch)
        assert sorted(map(sorted, plan.sizes.tolist())) == [[1, 9], [2, 2], [3, 5], [4, 12]]
        first = plan.starts[:, 0] < plan.starts[:, 1]
        assert plan.languages is not None
        assert (plan.languages == np.where(first[:, None], [0, 1], [1, 0])).all()
        orders.update(first.tolist())
    assert orders == {True, False}


def test_the_longer_one_loses_its_end() -> None:
    plan = planned(length=12)  # of which three are special
    assert plan.lengths.max() == 12
    assert sorted(map(sorted, plan.sizes.tolist())) == [[1, 8], [2, 2], [3, 5], [4, 5]]


def test_positions_begin_anew_and_each_token_is_told_its_language() -> None:
    plan, vocabulary = planned(), stores.vocabulary(template=XLM)
    numbers = np.array([7, 4], dtype=np.int8)
    assert plan.languages is not None
    told = plan.take(np.arange(4))
    told = type(plan)(
        plan.starts, plan.sizes, None, plan.special, languages=numbers[plan.languages]
    )
    packed = gather(PAIRS, told, np.arange(4), vocabulary)
    assert packed.languages is not None
    assert packed.positions is not None
    for row, (begin, end) in enumerate(
        zip(packed.cu_seqlens[:-1], packed.cu_seqlens[1:], strict=True)
    ):
        a, b = plan.sizes[row]
        first, second = numbers[plan.languages[row]]
        assert packed.ids[begin:end].tolist()[0] == 2
        assert packed.languages[begin:end].tolist() == [first] * (a + 2) + [second] * (b + 1)
        # The first words of both stand at the same place, 1.
        assert packed.positions[begin:end].tolist() == [*range(a + 2), *range(1, b + 2)]


def test_documents_without_two_sentences_are_left_out_and_some_must_be_left() -> None:
    store = stores.memory([[3], [2, 2], [1, 1, 1]])
    plan = plan_translations(store, np.arange(3), seed=0, epoch=0, length=32, template=XLM)
    assert plan.sizes.tolist() == [[2, 2]]
    with pytest.raises(UserError, match="no documents"):
        plan_translations(store, np.array([0]), seed=0, epoch=0, length=32, template=XLM)


@pytest.mark.parametrize("template", [XLM, BERT])
def test_they_mix_with_running_text_in_the_same_batches(template) -> None:
    text = stores.memory(stores.shape(1, documents=30, sentences=9, tokens=9), first=10_000)
    stream = Stream(
        sources=[
            Source(store=text, documents=np.arange(30), planner=plan_singles, languages=[1]),
            Source(
                store=PAIRS, documents=np.arange(4), planner=plan_translations, languages=[0, 2]
            ),
        ],
        vocabulary=stores.vocabulary(template=template),
        seed=0,
        length=32,
        tokens=128,
    )
    kinds = set()
    for step in islice(stream.run(), 30):
        packed = step.packed
        assert packed.languages is not None
        for begin, end in zip(packed.cu_seqlens[:-1], packed.cu_seqlens[1:], strict=True):
            ids = packed.ids[begin:end]
            spoken = packed.languages[begin:end]
            special = (ids < stores.FIRST).sum()
            segments = 0 if packed.segments is None else packed.segments[begin:end]
            if ids[1] >= 10_000:
                assert special == 2
                assert set(spoken) == {1}
                assert not np.any(segments)
            else:
                assert special == 3
                assert set(spoken) == {0, 2}
                assert packed.positions is not None
                assert packed.positions[begin:end].max() < end - begin - 1
                assert np.any(segments) == (template is BERT)
            kinds.add(int(special))
    assert kinds == {2, 3}
