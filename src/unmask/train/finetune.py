"""Fine-tuning from end to end: a pre-trained encoder and labelled rows in, a task's model out."""

import hashlib
import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from unmask import console, hardware
from unmask.contracts import Kind
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.exchange.warm_start import HEAD
from unmask.model.generation import Writing
from unmask.predict.model import Model
from unmask.predict.predictor import chunks
from unmask.predict.purpose import check_places, check_windows
from unmask.predict.records import columns_of, kind_of, records
from unmask.rewriting import Rewriting
from unmask.text.opening import opened
from unmask.text.parallel import sides
from unmask.text.tokenizer import Tokenizer
from unmask.train import recipe as recipes
from unmask.train import settings
from unmask.train.examples import Examples, Unit
from unmask.train.finetuning import Finetuning, Outcome, Work, becomes_writer
from unmask.train.parallel import World, world
from unmask.train.settings import refuse_changes
from unmask.train.structure import transformer
from unmask.train.task_report import write_summary
from unmask.train.tuning import FREE, WRITING, Tuning, TuningSettings, load_tuning
from unmask.verbs import FinetuneOptions, verb


@dataclass(frozen=True, kw_only=True, slots=False)
class FinetuneResult:
    """What fine-tuning came to; of several seeds, their means."""

    task: str
    metrics: dict[str, float]
    """On the evaluation data, by their usual names: of the best model of each seed, the mean."""
    deviations: dict[str, float] | None
    """Standard deviations over the seeds; None where there is one."""
    outcomes: list[Outcome] = field(repr=False)
    """Of each seed."""
    folder: Path
    """Of the run."""

    @property
    def signature(self) -> str | None:
        """How the figures were found, where that is a matter of choice."""
        return self.outcomes[0].signature

    @cached_property
    def model(self) -> Model:
        """The best model, of the best seed."""
        return Model.from_pretrained(self.folder / "model")

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        spread = {f"{name}_std": value for name, value in (self.deviations or {}).items()}
        return {
            "task": self.task,
            **self.metrics,
            **spread,
            **({} if self.signature is None else {"signature": self.signature}),
            "seeds": [outcome.seed for outcome in self.outcomes],
            "steps": sum(outcome.steps for outcome in self.outcomes),
            "tokens": sum(outcome.tokens for outcome in self.outcomes),
            "seconds": sum(outcome.seconds for outcome in self.outcomes),
            "model": str(self.folder / "model"),
            "report": str(self.folder / "report.html"),
        }

    def __rich__(self) -> Table:
        """Show the figures, and where the model and the report are."""
        grid = Table.grid(padding=(0, 2))
        for name, value in self.metrics.items():
            spread = "" if self.deviations is None else f" ± {self.deviations[name]:.4f}"
            grid.add_row(name, f"{value:.4f}{spread}")
        if self.signature is not None:
            grid.add_row("signature", self.signature)
        grid.add_row("model", str(self.folder / "model"))
        grid.add_row("report", str(self.folder / "report.html"))
        return grid


@verb(FinetuneOptions)
def finetune(options: FinetuneOptions) -> FinetuneResult:
    """Fine-tune a pre-trained encoder for a task, or go on with the run that `out` holds.

    The best model by the evaluation data is kept. Raises UserError for impossible settings or bad
    data, and KeyboardInterrupt, after saving, when it is stopped by Ctrl-C or SIGTERM.
    """
    hardware.keep_memory()
    device = hardware.device()
    if options.seeds < 1:
        raise UserError(f"--seeds {options.seeds}: there must be at least one")
    with world(device) as ranks:
        if options.out is not None:
            _check_folder(options.out, options.seeds)
        kind = kind_of(options.task)
        start, name = _start(options, kind)
        if start.untold and ranks.leads:
            console.words().print(f"warning: {name} tells languages apart; say which: --language")
        tuning = _tuning(options, kind, start)
        work, cut = _work(options, kind, start, tuning)
        wanted = TuningSettings(
            task=kind.name,
            model=name,
            model_fingerprint=_fingerprint(start, new=options.recipe is not None),
            train=options.train,
            train_fingerprint=_of_file(options.train),
            eval=options.eval,
            eval_fingerprint=_of_file(options.eval),
            language=options.language,
            text=options.text,
            label=options.label,
            seed=options.seed,
            tuning=tuning,
        )
        _tell_cut(cut, tuning, ranks)
        folder = ranks.share(options.out or Path(tempfile.mkdtemp(prefix="unmask-")))
        outcomes = []
        for number, seed in enumerate(range(options.seed, options.seed + options.seeds), 1):
            if options.seeds > 1 and ranks.leads:
                console.words().print(f"seed {seed}, {number} of {options.seeds}")
            own = folder if options.seeds == 1 else folder / f"seed-{seed}"
            outcomes.append(_one(own, replace(wanted, seed=seed), work, start, device, ranks))
        result = _together(kind.name, outcomes, folder)
        if options.seeds > 1 and ranks.leads:
            main = tuning.keeping.metric or work.task.metric().main
            best = max(outcomes, key=lambda outcome: outcome.metrics[main])
            shutil.copytree(best.model, folder / "model", dirs_exist_ok=True)
            write_summary(folder, result.to_json(), outcomes)
        return result


def _check_folder(folder: Path, seeds: int) -> None:
    """Raise UserError for a folder that cannot hold a run of so many seeds."""
    if folder.is_file():
        raise UserError(f"{folder} is a file; name a folder with --out")
    several = any(folder.glob("seed-*"))
    if seeds > 1 and (folder / "config.toml").exists():
        raise UserError(f"{folder} holds a run of one seed; choose another --out for {seeds} seeds")
    if seeds == 1 and several:
        raise UserError(f"{folder} holds a run of several seeds; choose another --out for one")


def _start(options: FinetuneOptions, kind: Kind) -> tuple[Pretrained, str]:
    """Read the model to start from, or make a new one; and name it.

    Raises UserError where that cannot be told, and for a model that the task cannot be learned by.
    """
    if (options.model is None) == (options.recipe is None):
        raise UserError("give either --model, or --recipe and --tokenizer of a new one")
    if (options.recipe is None) != (options.tokenizer is None):
        raise UserError("--recipe and --tokenizer make a new model together; give both or none")
    if options.recipe is not None and options.tokenizer is not None:
        sizes, _ = recipes.transformer(options.recipe)
        name, start = options.recipe, transformer(sizes, Tokenizer.load(options.tokenizer))
        start.network.initialise(torch.Generator().manual_seed(0))
    elif isinstance(options.model, Model):
        name, start = "a Model", options.model.pretrained
    else:
        name, start = str(options.model), huggingface.read(options.model)
    if options.language is not None:
        start = start.speaking(options.language)
    if not (kind.head in start.family.heads or becomes_writer(kind, start)):
        needed = "writes of what it reads: an encoder-decoder, or a BERT to make one of"
        wanted = f"that {needed}" if kind.head == HEAD else f"with a head {kind.head}"
        raise UserError(f"{name} is a {start.family.name}; {kind.name} needs a model {wanted}")
    return start, name


def _fingerprint(start: Pretrained, new: bool) -> str:
    """SHA-256 of a model's weights; of a new one also of its tokenizer."""
    if not new or start.tokenizer is None:
        return start.fingerprint
    return hashlib.sha256((start.fingerprint + start.tokenizer.fingerprint).encode()).hexdigest()


def _one(
    folder: Path,
    wanted: TuningSettings,
    work: Work,
    start: Pretrained,
    device: torch.device,
    ranks: World,
) -> Outcome:
    """Run one seed; one that is finished gives its outcome again."""
    old = settings.read(TuningSettings, folder)
    if old is not None:
        refuse_changes(old, wanted, folder, FREE)
        if wanted.tuning.epochs < old.tuning.epochs:
            raise UserError(
                f"{folder} holds a run of {old.tuning.epochs} epochs: it can be extended, not"
                " shortened"
            )
        result = folder / "result.json"
        if result.exists() and wanted.tuning.epochs == old.tuning.epochs:
            return Outcome(**json.loads(result.read_text(encoding="utf-8")))
    return Finetuning(folder, wanted, work, start, device, ranks).run(fresh=old is None)


def _tuning(options: FinetuneOptions, kind: Kind, start: Pretrained) -> Tuning:
    """Resolve the settings, for this model."""
    given: dict[str, Any] = {
        name: value
        for name, value in (("epochs", options.epochs), ("batch", options.batch))
        if value is not None
    }
    if options.rate is not None:
        given["optimizer"] = {"rate": options.rate}
    given["reading"] = {
        name: value
        for name, value in (("length", options.length), ("long", options.long))
        if value is not None
    }
    longest, places = start.spec.longest, start.spec.positions
    usual: list[Mapping[str, Any]] = []
    if kind.head == HEAD:
        most = Writing().max_new_tokens if places is None else places - 1
        usual += [WRITING, {"generation": {"max_new_tokens": min(Writing().max_new_tokens, most)}}]
    if options.recipe is not None:
        usual.append(recipes.transformer(options.recipe)[1])
    length = min(kind.length, longest)
    tuning = load_tuning(length, given, options.config, options.set, usual)
    if kind.head == HEAD:
        check_places(tuning.generation, places)
        frozen = tuning.layers.gradual or tuning.layers.last is not None
        if frozen and (options.recipe is not None or becomes_writer(kind, start)):
            raise UserError(
                "layers.last and layers.gradual: the model has new weights in every block; train"
                " all of them, or start from one that can write"
            )
    elif tuning.smoothing or tuning.generation != Writing():
        raise UserError(f"smoothing and generation change nothing: {kind.name} writes no text")
    if tuning.reading.length > longest:
        raise UserError(
            f"reading.length is {tuning.reading.length}, but the model reads {longest} tokens"
        )
    return tuning


def _work(
    options: FinetuneOptions, kind: Kind, start: Pretrained, tuning: Tuning
) -> tuple[Work, tuple[int, int]]:
    """Read the data: what to learn, and how much of the training data is too long.

    That is how many texts the model reads only in part, and how many it learns to write in part.
    Raises UserError for the first row that is wrong, in either file.
    """
    if start.tokenizer is None:
        raise UserError(f"{options.model}: it has no tokenizer; copy its tokenizer.json there")
    tokenizer = start.tokenizer
    columns = columns_of(options.text, options.label)
    # Fine-tuning holds its training data, as ids, in memory; evaluation data streams.
    weights = "balanced" if tuning.balanced else tuning.class_weights
    task = kind.learn(records(kind, options.train, columns), tuning.reading, weights)
    if tuning.reading.long == "windows":
        check_windows(task)
    if isinstance(task, Rewriting):
        task = replace(task, smoothing=tuning.smoothing, writing=tuning.generation)
    units: list[Unit] = []
    cut = shortened = 0
    for chunk in chunks(records(kind, options.train, columns), task):
        for windows in task.windows(chunk, tokenizer):
            units += task.units(windows)
            cut += any(window.cut for window in windows)
            shortened += any(window.shortened for window in windows)
    count = 0
    for chunk in chunks(records(kind, options.eval, columns), task):
        count += len(task.windows(chunk, tokenizer))  # raises for labels that are not known
    metric, known = tuning.keeping.metric, task.metric()
    figures = (*known.names, known.main)
    if metric is not None and metric not in figures:
        raise UserError(f"keeping.metric is {metric!r}; {kind.name} has {', '.join(known.names)}")

    def examples(seed: int) -> Examples:
        """Order the training examples by a seed."""
        return Examples(
            task, units, batch=tuning.batch, micro_tokens=tuning.micro_tokens, seed=seed
        )

    return Work(
        kind=kind,
        task=task,
        examples=examples,
        records=lambda: records(kind, options.eval, columns),
        count=count,
        judged=min(count, tuning.keeping.rows or count),
        fresh=options.recipe is not None,
    ), (cut, shortened)


def _together(task: str, outcomes: list[Outcome], folder: Path) -> FinetuneResult:
    """Take the means of the seeds' figures, and their deviations."""
    names = list(outcomes[0].metrics)
    values = {name: [outcome.metrics[name] for outcome in outcomes] for name in names}
    several = len(outcomes) > 1
    return FinetuneResult(
        task=task,
        metrics={name: statistics.fmean(found) for name, found in values.items()},
        deviations={n: statistics.stdev(v) for n, v in values.items()} if several else None,
        outcomes=outcomes,
        folder=folder,
    )


def _tell_cut(counts: tuple[int, int], tuning: Tuning, ranks: World) -> None:
    """Say how many texts lost their ends, of those to be read and of those to be written."""
    lengths = tuning.reading.length, tuning.generation.max_new_tokens
    for what, count, length in zip(("texts", "texts to be written"), counts, lengths, strict=True):
        if count and ranks.leads:
            console.words().print(
                f"{count:,} training {what} are longer than {length:,} tokens, and were cut"
            )


def _of_file(path: str) -> str:
    """SHA-256 of a file's content, decompressed; of two, line by line, one behind the other."""
    digest = hashlib.sha256()
    for side in sides(path):
        with opened(side) as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
