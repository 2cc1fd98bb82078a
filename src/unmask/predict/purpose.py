"""What a model was made for: the task that its folder names, or that its head tells."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from unmask import config
from unmask.contracts import Kind, Task
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained
from unmask.predict.records import kind_of
from unmask.registry import discover

OF_HEADS: Mapping[str, str] = {
    "pretraining": "fill-mask",
    "masked-lm": "fill-mask",
    "causal-lm": "feature-extraction",
    "permutation-lm": "feature-extraction",
    "seq2seq-lm": "feature-extraction",
    "pooler": "feature-extraction",
    "none": "feature-extraction",
}
"""The tasks of heads that do not have their task's name."""
KEPT = "unmask"
"""Key of config.json under which fine-tuning keeps the task and its reading."""


def purpose(pretrained: Pretrained, name: str, wanted: str | None = None) -> tuple[Kind, Task]:
    """Make the task that a model was made for, or another wanted one that it can do.

    Fine-tuning writes the task into config.json; of other checkpoints the head tells it. name: of
    the model, for errors. Raises UserError for a config.json that makes no sense, and for a task
    that needs another head.
    """
    kind, kept = _own(pretrained)
    if wanted is not None and wanted != kind.name:
        kind, kept = _other(pretrained, name, kind, kind_of(wanted)), {}
    reading = {"length": kind.length, **kept}
    laid = config.load(Reading, [(f"{name}: the reading in config.json", reading)])
    laid = replace(laid, length=min(laid.length, pretrained.spec.longest))
    return kind, kind.restore(pretrained.labels, pretrained.config, laid)


def laid_out(task: Task, long: Literal["truncate", "windows"] | None) -> Task:
    """Let a task cut long texts, or read them in windows."""
    if long is None:
        return task
    settings: Any = task  # a dataclass, whichever it is
    return cast(Task, replace(settings, reading=replace(task.reading, long=long)))


def _own(pretrained: Pretrained) -> tuple[Kind, Mapping[str, Any]]:
    """Find the kind of task that a model was made for, and its reading as far as that is kept."""
    kept = pretrained.config.get(KEPT) or {}
    kinds: dict[str, Kind] = discover("unmask.tasks", "TASK")
    named = kinds.get(kept.get("task", ""))
    if named is not None and named.head == pretrained.head:  # not one that others put a head on
        return named, kept.get("reading", {})
    told = OF_HEADS.get(pretrained.head, pretrained.head)
    number = pretrained.config.get("problem_type") == "regression" or len(pretrained.labels) == 1
    if told == "text-classification" and number:
        told = "regression"
    return kind_of(told), {}


def _other(pretrained: Pretrained, name: str, own: Kind, wanted: Kind) -> Kind:
    """Let a model do what needs no head of its own, and refuse everything else."""
    can = {
        "feature-extraction": True,
        "fill-mask": pretrained.network.head.masked is not None,
    }
    if not can.get(wanted.name, False):
        raise UserError(
            f"{name} was made for {own.name}, not for {wanted.name}; take a model that was"
        )
    return wanted
