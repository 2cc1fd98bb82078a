"""Templates: each family's layout of one text and of two, its segments and its summary."""

from itertools import pairwise

import numpy as np
import pytest

import stores
from unmask.data.examples import Planner, gather
from unmask.data.pairs import plan_pairs
from unmask.data.singles import plan_singles
from unmask.errors import UserError
from unmask.text.template import BERT, GPT2, ROBERTA, XLM, XLNET, Template

IDS = {"cls": 101, "sep": 102}
A, B = [1, 2, 3], [4, 5]


@pytest.mark.parametrize(
    ("template", "one", "two", "segments", "summary"),
    [
        (BERT, [101, 1, 2, 3, 102], [101, 1, 2, 3, 102, 4, 5, 102], [0] * 5 + [1] * 3, 0),
        (ROBERTA, [101, 1, 2, 3, 102], [101, 1, 2, 3, 102, 102, 4, 5, 102], None, 0),
        (XLM, [101, 1, 2, 3, 102], [101, 1, 2, 3, 102, 4, 5, 102], None, 0),
        (XLNET, [1, 2, 3, 102, 101], [1, 2, 3, 102, 4, 5, 102, 101], [0] * 4 + [1] * 3 + [2], 7),
        (GPT2, [1, 2, 3], [1, 2, 3, 4, 5], None, 4),
    ],
    ids=["bert", "roberta", "xlm", "xlnet", "gpt2"],
)
def test_each_family_has_its_layout(
    template: Template, one: list[int], two: list[int], segments: list[int] | None, summary: int
) -> None:
    frame = template.frame(2, IDS)
    laid = frame.lay(A, B)
    assert laid.ids.tolist() == two
    assert (None if laid.segments is None else laid.segments.tolist()) == segments
    assert laid.summary == summary
    assert frame.special == len(two) - len(A) - len(B)
    for start, text in zip(laid.starts, (A, B), strict=True):
        assert laid.ids[start : start + len(text)].tolist() == text
    assert template.frame(1, IDS).lay(A).ids.tolist() == one


def test_one_text_of_xlnet_has_a_segment_for_its_summary() -> None:
    laid = XLNET.frame(1, IDS).lay(A)
    assert laid.segments is not None
    np.testing.assert_array_equal(laid.segments, [0, 0, 0, 0, 2])
    assert laid.summary == 4
    assert BERT.frame(1, IDS).lay(A).segments is None


def test_a_token_that_the_vocabulary_lacks_is_named() -> None:
    with pytest.raises(UserError, match="no cls token"):
        BERT.frame(1, {"sep": 0})
    assert GPT2.frame(2, {}).special == 0


def test_a_sequence_of_nothing_is_refused() -> None:
    assert BERT.frame(1, IDS).lay([]).ids.tolist() == [101, 102]
    with pytest.raises(UserError, match="without a token"):
        GPT2.frame(1, IDS).lay([])


@pytest.mark.parametrize("planner", [plan_pairs, plan_singles])
@pytest.mark.parametrize("template", [BERT, ROBERTA, XLM, XLNET, GPT2])
def test_batches_are_laid_out_as_single_sequences_are(template: Template, planner: Planner) -> None:
    shape = stores.shape(3, documents=9, sentences=7, tokens=9)
    store, vocabulary = stores.memory(shape), stores.vocabulary(template=template)
    plan = planner(store, np.arange(9), seed=0, epoch=0, length=30, template=template)
    assert plan.lengths.max() <= 30
    rows = np.arange(len(plan))[::-1]
    packed = gather(store, plan, rows, vocabulary)
    frame = vocabulary.frames[plan.starts.shape[1] - 1]
    segments = np.zeros(len(packed.ids)) if packed.segments is None else packed.segments
    assert packed.segments is None or template in (BERT, XLNET)
    assert np.diff(packed.cu_seqlens).tolist() == plan.lengths[rows].tolist()
    for row, (first, last) in zip(rows, pairwise(packed.cu_seqlens), strict=True):
        texts = [
            store.take(np.arange(start, start + size)).tolist()
            for start, size in zip(plan.starts[row], plan.sizes[row], strict=True)
        ]
        laid = frame.lay(*texts)
        assert packed.ids[first:last].tolist() == laid.ids.tolist()
        expected = 0 if laid.segments is None else laid.segments
        assert (segments[first:last] == expected).all()
