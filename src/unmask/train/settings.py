"""All settings of a run as `config.toml` holds them, and the rules by which a run goes on.

This module imports no torch.
"""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from unmask import config
from unmask.errors import UserError
from unmask.train.recipe import Recipe

Kept = TypeVar("Kept")

FREE = ("recipe.steps", "budget", "step_seconds", "evaluation_seconds")
"""What may differ when a run is started again: how long it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A token store of a run."""

    path: str
    weight: float = 1.0
    """Its share of the sequences, relative to the others'."""
    fingerprint: str
    """Of the store's text, tokenizer and settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that a run was started with, resolved."""

    stores: list[Source]
    heldout: str
    """A token store, or the fraction of the documents that is held out."""
    heldout_fingerprint: str | None = None
    """Of the held-out store."""
    model: str | None = None
    """Checkpoint that the run started from."""
    seed: int
    probe: list[str] = field(default_factory=list)
    budget: str | None = None
    """Time that the number of steps was made for."""
    step_seconds: float | None = None
    """Measured before the run started."""
    evaluation_seconds: float | None = None
    """Measured before the run started."""
    recipe: Recipe
    """Its `steps` are those of this run."""


def read(cls: type[Kept], folder: Path) -> Kept | None:
    """Read a run's `config.toml`; None where no run was started yet.

    Raises UserError when it is damaged, or that of a run of another kind.
    """
    path = folder / "config.toml"
    if not path.exists():
        return None
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); give another --out") from error
    if strange := table.keys() - get_type_hints(cls).keys():
        raise UserError(
            f"{folder} holds a run of another kind: its config.toml has"
            f" {', '.join(sorted(strange))}; give another --out"
        )
    return config.load(cls, [(str(path), table)])


def write(folder: Path, settings: Any) -> None:
    """Write `config.toml`, whole or not at all."""
    temporary = folder / "config.tmp"
    temporary.write_text(config.dump(settings), encoding="utf-8")
    temporary.replace(folder / "config.toml")


def refuse_changes(old: Any, new: Any, folder: Path, free: Collection[str] = FREE) -> None:
    """Raise UserError that names every setting that differs, but for those that are free to."""
    before, after = dict(_flat(old)), dict(_flat(new))
    changed = [
        _difference(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and key not in free and not key.endswith(".path")
    ]
    if changed:
        raise UserError(
            f"{folder} holds a run with other settings: {'; '.join(changed)}."
            " Give the same settings to go on with it, or another --out"
        )


def _difference(key: str, before: Any, after: Any) -> str:
    """Tell what differs; of a fingerprint, whose value says nothing to people, what it is of."""
    if key.endswith("fingerprint") and None not in (before, after):
        return f"{key.removesuffix('fingerprint').rstrip('._')} has other content now"
    return f"{key} is {before!r} there and {after!r} now"


Run = TypeVar("Run", bound=Settings)


def lengthen(old: Run, new: Settings, steps: int | None, budget: float | None, folder: Path) -> Run:
    """Give the old settings the length that is asked for now; without any, they keep their own.

    steps, budget (seconds): asked for, or None; a budget counts at the speed first measured.
    """
    refuse_changes(old, new, folder)
    if budget is not None and new.budget != old.budget:
        if old.step_seconds is None:
            raise UserError(f"{folder}: the run's speed is not known; extend it with --steps")
        spare = budget - old.recipe.watch.evaluations * (old.evaluation_seconds or 0.0)
        steps = max(1, int(spare / old.step_seconds))
    if steps is None or steps == old.recipe.steps:
        return old
    if steps < old.recipe.steps:
        raise UserError(
            f"{folder} holds a run of {old.recipe.steps} steps: it can be extended, not shortened"
        )
    return replace(old, budget=new.budget, recipe=replace(old.recipe, steps=steps))


def _flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name every setting with dots and indices, and its value."""
    if is_dataclass(settings):
        for entry in fields(settings):
            yield from _flat(getattr(settings, entry.name), f"{prefix}.{entry.name}".lstrip("."))
    elif isinstance(settings, Mapping):
        for name, inner in settings.items():
            yield from _flat(inner, f"{prefix}.{name}")
    elif isinstance(settings, list | tuple):
        for index, item in enumerate(settings):
            yield from _flat(item, f"{prefix}.{index}")
    else:
        yield prefix, settings
