"""Pre-training from end to end: stores in, a run folder with a model and a report out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from unmask import config, hardware
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.predict.model import Model
from unmask.text.tokenizer import Tokenizer
from unmask.train import checkpoint, settings
from unmask.train.checkpoint import Damaged, State
from unmask.train.corpus import Corpus
from unmask.train.evaluate import Heldout
from unmask.train.loop import Plan, Report, Run, Trainer
from unmask.train.metrics import Metrics, rows
from unmask.train.parallel import World, world
from unmask.train.progress import Watcher, clock
from unmask.train.recipe import Recipe, load_recipe
from unmask.train.rehearsal import LONGEST, SHARE, Cost, duration, rehearse
from unmask.train.report import write_report
from unmask.train.settings import Settings
from unmask.verbs import PretrainOptions, verb

PROBED = 5
"""Fillings of a probe that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainResult:
    """What a finished run came to."""

    steps: int
    tokens: int
    """Tokens seen."""
    seconds: float
    """Over all starts of the run."""
    heldout_mlm_loss: float
    """Nats per masked token."""
    heldout_mlm_accuracy: float
    nsp_accuracy: float | None
    """None where sequences are no pairs."""
    unigram_loss: float
    """What token frequencies alone reach."""
    skipped: int
    """Steps without effect, because the loss was not finite."""
    model: str
    """Folder of the model."""
    report: str
    """The report's file."""


@verb(PretrainOptions)
def pretrain(options: PretrainOptions) -> PretrainResult:
    """Pre-train a BERT, or go on with the run that `out` holds.

    Raises UserError for impossible settings or damaged input, and KeyboardInterrupt, after saving,
    when it is stopped by Ctrl-C or SIGTERM.
    """
    device = hardware.device()
    with world(device) as ranks:
        recipe = _recipe(options)
        corpus = Corpus(options.stores, options.heldout, recipe, options.seed)
        wanted = Settings(
            stores=corpus.sources,
            heldout=corpus.heldout_name,
            heldout_fingerprint=corpus.heldout_fingerprint,
            model=options.model,
            seed=options.seed,
            probe=options.probe,
            budget=options.budget,
            recipe=recipe,
        )
        old = settings.read(options.out)
        if old is not None:
            seconds = None if options.budget is None else duration(options.budget)
            wanted = settings.lengthen(old, wanted, options.steps, seconds, options.out)
            finished = _finished(options.out, wanted)
            if finished is not None:
                return finished
        return _Session(options.out, wanted, corpus, device, ranks).run(fresh=old is None)


def _recipe(options: PretrainOptions) -> Recipe:
    """Load the recipe, with the steps that were asked for."""
    recipe = load_recipe(options.recipe, options.config, options.set)
    if options.steps is None:
        return recipe
    if options.budget is not None:
        raise UserError("give --steps or --budget, not both")
    if options.steps < 1:
        raise UserError(f"--steps {options.steps}: a run has at least one step")
    return replace(recipe, steps=options.steps)


def _finished(folder: Path, wanted: Settings) -> PretrainResult | None:
    """Read the result of a run that was finished before, at this length."""
    path = folder / "result.json"
    if not path.exists():
        return None
    result = PretrainResult(**json.loads(path.read_text(encoding="utf-8")))
    return result if result.steps == wanted.recipe.steps else None


class _Session:
    """One start of a run: from its folder to where it stops."""

    def __init__(
        self, folder: Path, wanted: Settings, corpus: Corpus, device: torch.device, ranks: World
    ) -> None:
        self.folder, self.settings, self.corpus = folder, wanted, corpus
        self.device, self.ranks = device, ranks
        self.watcher = Watcher(quiet=not ranks.leads)
        self.pretrained = _network(wanted, corpus.tokenizer)
        self.pretrained.network.to(device)
        self.pretrained.network.set_dropout(wanted.recipe.dropout)
        self.pretrained.network.train()
        self.heldout = corpus.heldout()

    def run(self, fresh: bool) -> PretrainResult:
        """Train to the end; a stopped run leaves its model and its report too."""
        state = State(step=0, skipped=0, phase=0, stream={}, tokens=0, seconds=0.0)
        trainer = self._trainer()
        if fresh:
            self._rehearse(trainer)
            trainer = self._trainer()
        else:
            state = self._resume(trainer, state)
        if self.ranks.leads:
            settings.write(self.folder, self.settings)
        recipe = self.settings.recipe
        self.watcher.start(recipe.steps, state)
        metrics = Metrics(self.folder, state.step) if self.ranks.leads else None
        run = Run(trainer, state, self._steps_of, self.heldout, metrics, self._observe)
        try:
            run.train()
        finally:
            self.watcher.stop()
            if metrics is not None:
                metrics.close()
            if self.ranks.leads and run.state.step:
                result = self._finish(run.state)
        return result
