"""Templates: each family's layout of one text and of two, its segments and its summary."""

import numpy as np
import pytest

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
