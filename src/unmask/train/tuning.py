"""What a fine-tuning run is made of: every setting, and how a run is kept in `config.toml`.

This module imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from unmask import config
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.model.generation import Writing
from unmask.train.recipe import Optimizer, Schedule, read_toml


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """Which weights are trained, and how fast."""

    last: int | None = None
    """Train only the last so many blocks, and the head; 0: the head alone. All when absent."""
    embeddings: bool | None = None
    """Train the embeddings. When absent, they are where all blocks are."""
    decay: float = 1.0
    """What a block's learning rate is multiplied with for the block below it."""
    gradual: bool = False
    """Train the head in the first epoch, and in each further one a block more, from the top."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeping:
    """How a run is judged and kept."""

    evaluations: float = 1.0
    """In each epoch, evenly; 0.2: one in five epochs."""
    rows: int | None = None
    """Rows of the evaluation data by which models are compared, evenly drawn; the best one is then
    judged by all. All when absent, but 500 where texts are written, which takes long."""
    metric: str | None = None
    """Figure by which the best model is chosen; the task's own when absent."""
    patience: int | None = None
    """Evaluations without a better figure after which the run ends; never when absent."""
    checkpoint_seconds: float = 60.0
    """Time between checkpoints."""
    keep: int = 1
    """Checkpoints kept, the last ones; the best model is kept besides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """All settings of a fine-tuning run."""

    epochs: int = 3
    """Passes over the training data."""
    batch: int = 32
    """Sequences of an optimizer step, over all ranks; of multiple choice, questions."""
    micro_tokens: int = 4096
    """Token budget of one forward pass."""
    dropout: float | None = None
    """Of hidden states, attention and the head's input; the model's own when absent."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products; auto is bfloat16 where the hardware has it."""
    balanced: bool = False
    """Weigh labels so that each counts as much as the others, however often it occurs."""
    class_weights: dict[str, float] | None = None
    """How much a text counts, by its label."""
    smoothing: float = 0.0
    """Share of a token's probability that is spread over the vocabulary, where texts are written;
    0.1 there when absent."""
    reading: Reading
    """How texts are laid out."""
    generation: Writing = field(default_factory=Writing)
    """How texts are written."""
    layers: Layers = field(default_factory=Layers)
    optimizer: Optimizer
    schedule: Schedule
    keeping: Keeping = field(default_factory=Keeping)


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningSettings:
    """Everything that a run was started with, resolved."""

    task: str
    model: str
    """Where the run started from: a model, or the recipe of a new one."""
    model_fingerprint: str
    """Of its weights, and of the tokenizer of a new one."""
    train: str
    train_fingerprint: str
    """Of the file's content."""
    eval: str
    eval_fingerprint: str
    """Of the file's content."""
    language: str | None = None
    """Of the texts, where it was told."""
    text: str | None = None
    """Columns of the text, where they were named."""
    label: str | None = None
    """Column of the label, where it was named."""
    seed: int
    tuning: Tuning


FREE = ("tuning.epochs", "model", "train", "eval")
"""What may differ when a run is started again: its length, and the names of what it reads."""


WRITING: Mapping[str, Any] = {
    "smoothing": 0.1,
    "optimizer": {"rate": 5e-5},
    "keeping": {"rows": 500},
}
"""What is usual where texts are written, and nowhere else."""


def load_tuning(
    length: int,
    given: Mapping[str, Any],
    file: Path | None,
    sets: Sequence[str],
    usual: Sequence[Mapping[str, Any]] = (),
) -> Tuning:
    """Lay what was given over the defaults: a TOML file, then options, then `KEY=VALUE` pairs.

    length: the longest sequence where nothing else is said; usual: further defaults, the later ones
    over the earlier. Raises UserError for an unknown key or value, and for settings that cannot be.
    """
    defaults = {
        "reading": {"length": length},
        "optimizer": {"rate": 2e-5},
        "schedule": {"warmup": 0.1},
    }
    layers: list[tuple[str, Mapping[str, Any]]] = [
        *(("defaults", table) for table in (defaults, *usual)),
        *([] if file is None else [(str(file), read_toml(file))]),
        ("options", given),
    ]
    tuning = config.load(Tuning, layers, sets)
    _check(tuning, length)
    return tuning


def _check(tuning: Tuning, length: int) -> None:
    """Refuse settings that cannot be, or that contradict each other."""
    reading, layers, keeping = tuning.reading, tuning.layers, tuning.keeping
    least = {
        "epochs": (tuning.epochs, 1),
        "batch": (tuning.batch, 1),
        "keeping.rows": (keeping.rows, 1),
        "reading.sentences": (reading.sentences, 1),
        "keeping.patience": (keeping.patience, 1),
        "keeping.keep": (keeping.keep, 1),
        "layers.last": (layers.last, 0),
        "reading.length": (reading.length, 8),
    }
    for name, (value, low) in least.items():
        if value is not None and value < low:
            raise UserError(f"{name} is {value}; it must be at least {low}")
    for name, share in (("dropout", tuning.dropout), ("smoothing", tuning.smoothing)):
        if share is not None and not 0 <= share < 1:
            raise UserError(f"{name} is {share}; it must be at least 0 and below 1")
    if not keeping.evaluations > 0:
        raise UserError(f"keeping.evaluations is {keeping.evaluations}; it must be above 0")
    if not 0 < layers.decay <= 1:
        raise UserError(f"layers.decay is {layers.decay}; it must be above 0 and at most 1")
    if not 0 < tuning.optimizer.rate < 1:
        raise UserError(f"optimizer.rate is {tuning.optimizer.rate}; take one between 0 and 1")
    if not 0 <= tuning.schedule.warmup <= 1 or not 0 <= tuning.schedule.floor <= 1:
        raise UserError("schedule.warmup and schedule.floor are shares, between 0 and 1")
    _check_contradictions(tuning)


def _check_contradictions(tuning: Tuning) -> None:
    """Refuse settings that contradict each other."""
    reading, layers = tuning.reading, tuning.layers
    if tuning.balanced and tuning.class_weights is not None:
        raise UserError("give either balanced or class_weights, not both")
    if layers.gradual and layers.last is not None:
        raise UserError("layers.gradual trains all blocks in the end; give it without layers.last")
    if tuning.micro_tokens < reading.length:
        raise UserError(
            f"micro_tokens {tuning.micro_tokens} must hold a sequence of {reading.length} tokens"
        )
