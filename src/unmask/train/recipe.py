"""What a pre-training run is made of: every setting, with the recipes of the package as TOML.

A recipe's name is a family and a size: `bert-mini`, `roberta-base`. Of BERT there is, beside the
fast form, the paper's: `bert-mini-faithful`. This module imports no torch.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from unmask import config
from unmask.data.masking import Masking
from unmask.errors import UserError

SIZES = ("tiny", "mini", "small", "medium", "base", "large")
FAMILIES = ("bert", "roberta", "albert", "xlnet", "xlm", "flaubert", "gpt2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The structure of a model, as far as its family leaves it open."""

    family: str = "bert"
    """`model_type` of the checkpoints that come of it."""
    width: int
    """Of the hidden states."""
    layers: int
    """Transformer blocks."""
    heads: int
    """Attention heads of a block."""
    inner: int
    """Width of the feed-forward layer."""
    positions: int = 512
    """Longest sequence that the model can read."""
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    """BERT's paper has the tanh form of GELU; the field's checkpoints carry the erf form."""
    embedding_width: int | None = None
    """Of the embeddings, which are then projected to the width; the same when absent."""
    groups: int | None = None
    """Groups of neighbouring layers that share their weights; when absent each has its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A part of the run with one sequence length."""

    length: int
    """Longest sequence, special tokens included."""
    share: float
    """Of the run's steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """What a batch is."""

    form: Literal["pairs", "ordered", "singles"] = "pairs"
    """Sentence pairs with NSP, neighbours with sentence order prediction, or full sentences."""
    phases: list[Phase]
    """Sequence lengths, in order; the shares add up to 1."""
    batch_tokens: int | None = None
    """Token budget of one optimizer step, over all ranks."""
    batch_sequences: int | None = None
    """Sequences of one optimizer step, over all ranks: instead of `batch_tokens`."""
    micro_tokens: int = 4096
    """Token budget of one forward pass."""
    exponent: float | None = None
    """Stores without a weight count by their tokens to this power, on average 1, so that a value
    below 1 brings small languages up; when absent they count alike."""
    memory: int = 0
    """Tokens before those of a sequence that permutation language modelling reads as the memory of
    the previous segment; they are part of its length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    """How the gradient changes the weights."""

    algorithm: Literal["adamw", "muon"] = "adamw"
    """AdamW for all, or Muon for the matrices inside the blocks and AdamW for the rest."""
    rate: float
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the first and second moments."""
    eps: float = 1e-6
    """Added to the root of the second moment."""
    weight_decay: float = 0.01
    """Decoupled; not on norms and biases."""
    bias_correction: bool = True
    """The original BERT has none."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """The learning rate over the run: linear up, then linear down."""

    warmup: float = 0.01
    """Share of the steps in which the rate rises."""
    floor: float = 0.0
    """Share of the peak at which it begins and ends; 0.03125 is ULMFiT's slanted triangle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """How the run is observed and kept."""

    evaluations: int = 20
    """Held-out evaluations, evenly over the run."""
    heldout_tokens: int = 131_072
    """Most tokens of an evaluation."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints."""
    keep: int = 2
    """Checkpoints kept, the last ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All settings of a pre-training run."""

    steps: int
    """Optimizer steps; --steps and --budget replace it."""
    dropout: float
    """Of hidden states and attention probabilities."""
    objective: Literal["masked", "causal", "permutation"] = "masked"
    """Fill masks, say the next token, or say tokens in a random order."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products; auto is bfloat16 where the hardware has it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Of the blocks, by torch's compiler; auto is on a GPU."""
    model: Shape
    data: Data
    masking: Masking = field(default_factory=Masking)
    optimizer: Optimizer
    schedule: Schedule = field(default_factory=Schedule)
    watch: Watch = field(default_factory=Watch)


Kind = TypeVar("Kind", bound=Recipe)


def names() -> list[str]:
    """Name every recipe of the package."""
    faithful = [f"bert-{size}-faithful" for size in SIZES]
    return [f"{family}-{size}" for family in FAMILIES for size in SIZES] + faithful


def load_recipe(name: str, file: Path | None = None, sets: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with the settings of a TOML file and then `KEY=VALUE` pairs laid over it.

    Raises UserError for an unknown recipe, key or value.
    """
    if name not in names():
        raise UserError(f"recipe {name!r} does not exist; there are {', '.join(names())}")
    family, size, *form = name.split("-")
    tables = [packaged(*form or ["fast"]), packaged(size)]
    if form:  # a size file holds the structure, and beside it what the fast form tunes for it
        tables[1] = {"model": tables[1]["model"]}
    return compose(Recipe, name, [*tables, packaged(family)], file, sets)


def compose(
    kind: type[Kind],
    name: str,
    tables: Sequence[Mapping[str, Any]],
    file: Path | None,
    sets: Sequence[str],
) -> Kind:
    """Make a recipe of tables laid over each other, a TOML file over them, and then `KEY=VALUE`."""
    layers = [(f"recipe {name}", table) for table in tables]
    if file is not None:
        layers.append((str(file), read_toml(file)))
    recipe = config.load(kind, layers, sets)
    check(recipe)
    return recipe


def transformer(name: str) -> tuple[Shape, dict[str, Any]]:
    """Read the recipe of an encoder-decoder: its sizes, and settings of its training.

    Raises UserError for one that does not exist.
    """
    family, _, size = name.partition("-")
    if family != "transformer" or size not in SIZES:
        known = ", ".join(f"transformer-{size}" for size in SIZES)
        raise UserError(f"--recipe {name}: there is none to fine-tune; there are {known}")
    sizes = config.load(Shape, [(f"recipe {name}", packaged(size)["model"])])
    return sizes, packaged(family)


def packaged(name: str) -> dict[str, Any]:
    """Read a file of the package's recipes."""
    text = resources.files("unmask.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def read_toml(file: Path) -> dict[str, Any]:
    """Read a file of settings; UserError when it is none."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; --config needs a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not TOML ({error})") from error


def check(recipe: Recipe) -> None:
    """Refuse settings that contradict each other."""
    data, shape = recipe.data, recipe.model
    _check_shape(shape)
    if (data.batch_tokens is None) == (data.batch_sequences is None):
        raise UserError("data: give either batch_tokens or batch_sequences, and not both")
    if abs(sum(phase.share for phase in data.phases) - 1) > 1e-6:
        raise UserError("data.phases: the shares must add up to 1")
    for phase in data.phases:
        if not 8 <= phase.length <= min(shape.positions, data.micro_tokens):
            raise UserError(
                f"data.phases: length {phase.length} must be at least 8 and at most model.positions"
                f" ({shape.positions}) and data.micro_tokens ({data.micro_tokens})"
            )
    if data.exponent is not None and not 0 <= data.exponent <= 1:
        raise UserError(f"data.exponent is {data.exponent}; it must be between 0 and 1")
    if recipe.objective == "causal" and data.form != "singles":
        raise UserError(f"objective causal reads running text; data.form {data.form} is of pairs")
    if recipe.objective == "permutation" and recipe.compile == "on":
        raise UserError("compile = 'on' is not for objective = 'permutation'; leave it at 'auto'")
    _check_memory(recipe)


def _check_shape(shape: Shape) -> None:
    """Refuse sizes that no model can have."""
    for name in ("width", "layers", "heads", "inner", "positions"):
        if getattr(shape, name) < 1:
            raise UserError(f"model.{name} is {getattr(shape, name)}; it must be at least 1")
    if shape.width % shape.heads:
        raise UserError(f"model.width {shape.width} is not a multiple of model.heads {shape.heads}")
    if shape.groups is not None and not 1 <= shape.groups <= shape.layers:
        raise UserError(
            f"model.groups {shape.groups} must be at least 1 and at most model.layers"
            f" ({shape.layers})"
        )


def _check_memory(recipe: Recipe) -> None:
    """Refuse a memory where there is none, or that leaves nothing to be predicted."""
    data = recipe.data
    if data.memory and (recipe.objective != "permutation" or data.form != "singles"):
        raise UserError(
            "data.memory is for objective = 'permutation' with data.form = 'singles' only"
        )
    shortest = min(phase.length for phase in data.phases)
    if not 0 <= data.memory <= shortest - 8:
        raise UserError(
            f"data.memory {data.memory} must leave at least 8 of a sequence's {shortest} tokens"
        )
