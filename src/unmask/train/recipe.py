"""What a pre-training run is made of: every setting, with the recipes of the package as TOML.

A recipe's name is a size and a form: `bert-mini` is the fast form, `bert-mini-faithful` the
paper's. This module imports no torch.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from unmask import config
from unmask.data.masking import Masking
from unmask.errors import UserError
from unmask.model.spec import Spec

SIZES = ("tiny", "mini", "small", "medium", "base", "large")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The structure of a BERT."""

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
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    """The paper's GELU is the tanh form; the field's checkpoints carry the erf form."""

    def spec(self, pieces: int) -> Spec:
        """Give the structure with a vocabulary of so many pieces; two segments, as pairs need."""
        return Spec(**asdict(self), pieces=pieces, segments=2)


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

    form: Literal["pairs", "singles"] = "pairs"
    """Sentence pairs with NSP, or full sentences without."""
    phases: list[Phase]
    """Sequence lengths, in order; the shares add up to 1."""
    batch_tokens: int | None = None
    """Token budget of one optimizer step, over all ranks."""
    batch_sequences: int | None = None
    """Sequences of one optimizer step, over all ranks: instead of `batch_tokens`."""
    micro_tokens: int = 4096
    """Token budget of one forward pass."""


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
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products; auto is bfloat16 where the hardware has it."""
    model: Shape
    data: Data
    masking: Masking = field(default_factory=Masking)
    optimizer: Optimizer
    schedule: Schedule = field(default_factory=Schedule)
    watch: Watch = field(default_factory=Watch)


def names() -> list[str]:
    """Name every recipe of the package."""
    return [f"bert-{size}{form}" for size in SIZES for form in ("", "-faithful")]


def load_recipe(name: str, file: Path | None = None, sets: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with the settings of a TOML file and then `KEY=VALUE` pairs laid over it.

    Raises UserError for an unknown recipe, key or value.
    """
    size, form = (
        name.removesuffix("-faithful"),
        "faithful" if name.endswith("-faithful") else "fast",
    )
    if name not in names():
        raise UserError(f"recipe {name!r} does not exist; there are {', '.join(names())}")
    tables = _packaged(form), _packaged(size)
    # A size file holds the structure, and beside it what the fast form tunes for this size.
    own = tables[1] if form == "fast" else {"model": tables[1]["model"]}
    layers = [(f"recipe {name}", tables[0]), (f"recipe {name}", own)]
    if file is not None:
        layers.append((str(file), read_toml(file)))
    recipe = config.load(Recipe, layers, sets)
    _check(recipe)
    return recipe


def _packaged(name: str) -> dict[str, Any]:
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


def _check(recipe: Recipe) -> None:
    """Refuse settings that contradict each other."""
    data, shape = recipe.data, recipe.model
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
    if shape.width % shape.heads:
        raise UserError(f"model.width {shape.width} is not a multiple of model.heads {shape.heads}")
