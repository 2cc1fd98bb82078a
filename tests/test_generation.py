"""Settings of generation that are impossible, contradict each other, or change nothing."""

from typing import Any

import pytest

from unmask.errors import UserError
from unmask.model.generation import Generation


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be at least 1"),
        ({"min_new_tokens": -1}, "min_new_tokens is -1; it must be at least 1"),
        ({"num_beams": 0}, "num_beams is 0"),
        ({"do_sample": True, "seed": -1}, "seed is -1; it must be at least 0"),
        ({"num_return_sequences": 0}, "num_return_sequences is 0"),
        ({"do_sample": True, "top_k": 0}, "top_k is 0"),
        ({"no_repeat_ngram_size": 0}, "no_repeat_ngram_size is 0"),
        (
            {"do_sample": True, "temperature": 0.0},
            "temperature is 0.0; it must be from 0.0001 to",
        ),
        ({"repetition_penalty": -1.0}, "repetition_penalty is -1.0"),
        ({"do_sample": True, "top_p": 0.0}, "top_p is 0.0; it is a probability"),
        ({"do_sample": True, "top_p": 1.1}, "top_p is 1.1"),
        ({"num_beams": 2, "length_penalty": -400.0}, "length_penalty is -400.0; it must be from"),
        ({"num_beams": 2, "length_penalty": float("nan")}, "length_penalty is nan"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty is inf; it must be from"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens 9 is more than"),
        ({"min_new_tokens": 9, "stop": ()}, "min_new_tokens changes nothing where nothing stops"),
        ({"num_beams": 4, "do_sample": True}, "do_sample and num_beams 4 contradict each other"),
        ({"temperature": 0.5}, "temperature changes nothing without do_sample"),
        ({"top_k": 5}, "top_k changes nothing without do_sample"),
        ({"top_p": 0.5}, "top_p changes nothing without do_sample"),
        ({"seed": 5}, "seed changes nothing without do_sample"),
        ({"length_penalty": 1.0}, "length_penalty changes nothing without num_beams above 1"),
        ({"early_stopping": False}, "early_stopping changes nothing without num_beams above 1"),
        ({"num_return_sequences": 2}, "num_return_sequences 2 is more than the 1 that num_beams"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences 3 is more than the 2"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_name(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        Generation(**settings)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_sample": True, "num_return_sequences": 9, "top_p": 1.0, "seed": 0},
        {"num_beams": 4, "early_stopping": "never", "length_penalty": -1.0},
        {"min_new_tokens": 8, "max_new_tokens": 8, "stop": ("[SEP]",)},
    ],
    ids=str,
)
def test_what_makes_sense_is_taken(settings: dict[str, Any]) -> None:
    assert {name: getattr(Generation(**settings), name) for name in settings} == settings
