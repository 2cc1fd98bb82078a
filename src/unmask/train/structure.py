"""The structure of a new model: what a recipe asks for, in the form that its family gives it."""

from dataclasses import asdict, fields

from unmask.contracts import Family
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.model.spec import Spec
from unmask.text.tokenizer import Tokenizer
from unmask.train.recipe import Recipe, Shape


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
    traits = family.traits(pad, languages if languages > 1 else 0)
    spec = Spec(**sizes | {"pieces": pieces} | dict(traits))
    check_kept(family, spec)
    return spec


def check_kept(family: Family, spec: Spec) -> None:
    """Raise UserError, by name, for what a family's checkpoints cannot say of a structure."""
    kept = family.spec(family.config(spec))
    lost = [f.name for f in fields(Spec) if getattr(kept, f.name) != getattr(spec, f.name)]
    if lost:
        raise UserError(
            f"{family.name} has no setting for"
            f" {', '.join(f'{name} = {getattr(spec, name)}' for name in lost)};"
            " choose other sizes, or another family or objective"
        )


def fresh(
    family: Family, spec: Spec, head: str, tokenizer: Tokenizer, dropout: float
) -> Pretrained:
    """Build a model with weights that are not those of any training yet.

    Raises UserError where the family has no such head.
    """
    if head not in family.heads:
        raise UserError(
            f"{family.name} has no head {head}, which this objective and data.form need; it has"
            f" {', '.join(family.heads)}"
        )
    return Pretrained(
        family=family,
        spec=spec,
        network=family.network(spec, head),
        head=head,
        tokenizer=tokenizer,
        config=dict.fromkeys(family.dropout, dropout),
    )


def transformer(shape: Shape, tokenizer: Tokenizer) -> Pretrained:
    """Build an encoder-decoder of these sizes on both sides, one table for both languages.

    Its weights are not those of any training yet. Raises UserError for a tokenizer whose special
    tokens do not suit it.
    """
    family = huggingface.families()["transformer"]
    sizes = {"attention_heads": shape.heads, "ffn_dim": shape.inner, "layers": shape.layers}
    spec = family.spec(
        {
            "d_model": shape.width,
            "vocab_size": tokenizer.vocab_size,
            "max_position_embeddings": shape.positions,
            **{f"{part}_{name}": n for part in ("encoder", "decoder") for name, n in sizes.items()},
        }
    )
    return fresh(family, spec, "seq2seq-lm", tokenizer.with_template(family.template), 0.1)


def check_tokenizer(pretrained: Pretrained, tokenizer: Tokenizer, source: str) -> None:
    """Refuse a model that reads other pieces than those of the stores; source: how it was named."""
    own = pretrained.tokenizer
    if own is None or own.fingerprint != tokenizer.fingerprint:
        raise UserError(
            f"{source}: its tokenizer is not the one that the stores were made with; prepare them"
            " with its folder as --tokenizer"
        )
