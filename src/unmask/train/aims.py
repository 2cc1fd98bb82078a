"""The objective of a recipe: what its model is pre-trained to do, and with which head."""

from collections.abc import Mapping
from typing import Any

from unmask.contracts import Aim, Objective, Question
from unmask.data.masking import Vocabulary
from unmask.registry import discover
from unmask.train.recipe import Recipe

QUESTIONS: Mapping[str, Question] = {"pairs": "nsp", "ordered": "sop"}
"""What is asked about the examples of a form, where they are pairs."""


def head_of(recipe: Recipe) -> str:
    """Name the family's head that the objective of a recipe needs."""
    return str(_kind(recipe).head(QUESTIONS.get(recipe.data.form)))


def objective_of(recipe: Recipe, vocabulary: Vocabulary) -> Objective:
    """Make the objective that a recipe asks for."""
    pair = QUESTIONS.get(recipe.data.form)
    aim = Aim(masking=recipe.masking, memory=recipe.data.memory, pair=pair)
    made: Objective = _kind(recipe).of(aim, vocabulary)
    return made


def _kind(recipe: Recipe) -> Any:
    return discover("unmask.objectives", "OBJECTIVE")[recipe.objective]
