"""What a model was made for: the task that its folder names, or that its head tells."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal, cast

from unmask import config
from unmask.contracts import Kind, Task
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.exchange.huggingface import OURS, Pretrained
from unmask.exchange.warm_start import HEAD
from unmask.model.generation import Writing
from unmask.predict.records import kind_of
from unmask.registry import discover
from unmask.rewriting import OF_TASKS, Rewriting, token_ids

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


def purpose(
    pretrained: Pretrained, name: str, wanted: str | None = None, sets: Sequence[str] = ()
) -> tuple[Kind, Task]:
    """Make the task that a model was made for, or another wanted one that it can do.

    Fine-tuning writes the task into config.json; of other checkpoints the head tells it. name: of
    the model, for errors. sets: of how texts are written, or of how they are read, as KEY=VALUE.
    Raises UserError for a config.json that makes no sense, for a task that needs another head, and
    for settings that do not fit.
    """
    kind, kept = _own(pretrained)
    if wanted is not None and wanted != kind.name:
        kind, kept = _other(pretrained, name, kind, kind_of(wanted)), {}
    reading = {"length": kind.length, **kept}
    writes = kind.head == HEAD
    laid = config.load(
        Reading, [(f"{name}: the reading in config.json", reading)], () if writes else sets
    )
    laid = replace(laid, length=min(laid.length, pretrained.spec.longest))
    try:
        task = kind.restore(pretrained.labels, pretrained.settings, laid)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    if isinstance(task, Rewriting):
        told, pieces = pretrained.settings, pretrained.spec.pieces
        begin = token_ids(told, "decoder_start_token_id", pieces)
        ends = token_ids(told, "eos_token_id", pieces)
        task = replace(task, begin=begin[0] if begin else None, ends=ends)
        return kind, with_writing(task, pretrained.spec.positions, sets)
    return kind, task


def with_writing(task: Rewriting, places: int | None, sets: Sequence[str]) -> Rewriting:
    """Lay settings of how texts are written over those of a task.

    places: of the decoder, one of which it begins with; None: any number. Raises UserError where
    more tokens are asked for than these.
    """
    told = {name: value for name, value in asdict(task.writing).items() if value is not None}
    if places is not None:
        told["max_new_tokens"] = min(told["max_new_tokens"], places - 1)
    writing = config.load(Writing, [("the model", told)], sets)
    check_places(writing, places)
    return replace(task, writing=writing)


def check_places(writing: Writing, places: int | None) -> None:
    """Raise UserError where a decoder of so many places cannot write texts of a length."""
    if places is not None and writing.max_new_tokens >= places:
        raise UserError(
            f"max_new_tokens is {writing.max_new_tokens}; the decoder has places for"
            f" {places - 1:,}, and one to begin with"
        )


def check_results(task: Task, top_k: int) -> None:
    """Raise UserError where a task cannot give so many results."""
    if top_k < 1:
        raise UserError(f"top_k is {top_k}; ask for at least one result")
    if isinstance(task, Rewriting) and top_k > task.writing.num_beams:
        raise UserError(
            f"top_k is {top_k}, but num_beams {task.writing.num_beams} texts are written of each;"
            " raise num_beams, or ask for fewer"
        )


def check_windows(task: Task) -> None:
    """Raise UserError for a task that reads no text in windows."""
    if isinstance(task, Rewriting):
        raise UserError(
            f"{task.name} reads no windows: what is written of parts cannot be averaged. Leave out"
            " --long windows, or divide the texts"
        )


def laid_out(task: Task, long: Literal["truncate", "windows"] | None) -> Task:
    """Let a task cut long texts, or read them in windows. Raises UserError where it cannot."""
    if long is None:
        return task
    if long == "windows":
        check_windows(task)
    settings: Any = task  # a dataclass, whichever it is
    return cast(Task, replace(settings, reading=replace(task.reading, long=long)))


def _own(pretrained: Pretrained) -> tuple[Kind, Mapping[str, Any]]:
    """Find the kind of task that a model was made for, and its reading as far as that is kept."""
    kept = pretrained.config.get(OURS) or {}
    kinds: dict[str, Kind] = discover("unmask.tasks", "TASK")
    tasks = [kept.get("task", ""), *(pretrained.config.get(OF_TASKS) or {})]
    for named in filter(None, map(kinds.get, tasks)):
        if named.head == pretrained.head:  # not one that others put a head on
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
        "translation": pretrained.head == HEAD,
        "summarization": pretrained.head == HEAD,
    }
    if not can.get(wanted.name, False):
        raise UserError(
            f"{name} was made for {own.name}, not for {wanted.name}; take a model that was"
        )
    return wanted
