"""The objective of a recipe: what its model is pre-trained to do, and with which head."""

from collections.abc import Mapping
from typing import Literal

from unmask.contracts import Objective
from unmask.data.masking import Vocabulary
from unmask.objectives.causal import CausalObjective
from unmask.objectives.masked import MaskedObjective
from unmask.objectives.permutation import PermutationObjective
from unmask.train.recipe import Recipe

PAIRED: Mapping[str, Literal["nsp", "sop"]] = {"pairs": "nsp", "ordered": "sop"}
"""What is asked about pairs of each form."""


def head_of(recipe: Recipe) -> str:
    """Name the family's head that the objective of a recipe needs."""
    if recipe.objective != "masked":
        return f"{recipe.objective}-lm"
    return "pretraining" if recipe.data.form in PAIRED else "masked-lm"


def objective_of(recipe: Recipe, vocabulary: Vocabulary) -> Objective:
    """Make the objective that a recipe asks for."""
    match recipe.objective:
        case "causal":
            return CausalObjective()
        case "permutation":
            return PermutationObjective(
                vocabulary=vocabulary, masking=recipe.masking, memory=recipe.data.memory
            )
    pair = PAIRED.get(recipe.data.form)
    return MaskedObjective(vocabulary=vocabulary, masking=recipe.masking, pair=pair)
