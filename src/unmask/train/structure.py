"""The structure of a new model: what a recipe asks for, in the form that its family gives it."""

from dataclasses import asdict, fields

from unmask.contracts import Family
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.model.spec import Spec
from unmask.train.recipe import Recipe


def family_of(recipe: Recipe) -> Family:
    """Find the family of a recipe. Raises UserError for one that does not exist."""
    families, name = huggingface.families(), recipe.model.family
    if name not in families:
        raise UserError(f"model.family {name!r} does not exist; there are {', '.join(families)}")
    return families[name]


def structure(recipe: Recipe, pieces: int, pad: int = 0, languages: int = 0) -> Spec:
    """Give the structure of a recipe's model with a vocabulary of so many pieces.

    pad: id of its pad token; languages: how many it tells apart. Raises UserError for sizes that
    checkpoints of the family have no setting for.
    """
    family, sizes = family_of(recipe), asdict(recipe.model)
    del sizes["family"]
    groups, layers = sizes.pop("groups"), recipe.model.layers
    if groups is not None:
        sizes["schedule"] = tuple(layer * groups // layers for layer in range(layers))
    if recipe.objective == "causal":
        sizes["causal"] = True
    told = languages if languages > 1 else 0
    spec = Spec(**sizes | {"pieces": pieces} | dict(family.traits(pad, told)))
    kept = family.spec(family.config(spec))
    lost = [f.name for f in fields(Spec) if getattr(kept, f.name) != getattr(spec, f.name)]
    if lost:
        raise UserError(
            f"model.family {family.name} has no setting for"
            f" {', '.join(f'{name} = {getattr(spec, name)}' for name in lost)};"
            " choose other sizes, or another family or objective"
        )
    return spec
