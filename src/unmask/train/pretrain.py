"""Pre-training from end to end: stores in, a run folder with a model and a report out."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from unmask import hardware
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.train import settings
from unmask.train.corpus import Corpus
from unmask.train.parallel import World, world
from unmask.train.pretraining import Pretraining, PretrainResult, model_of
from unmask.train.recipe import Kind, load_recipe
from unmask.train.rehearsal import duration
from unmask.train.settings import Settings
from unmask.train.structure import family_of
from unmask.verbs import DistillOptions, PretrainOptions, verb


@verb(PretrainOptions)
def pretrain(options: PretrainOptions) -> PretrainResult:
    """Pre-train a model, or go on with the run that `out` holds.

    Raises UserError for impossible settings or damaged input, and KeyboardInterrupt, after saving,
    when it is stopped by Ctrl-C or SIGTERM.
    """
    hardware.keep_memory()
    device = hardware.device()
    with world(device) as ranks:
        loaded = load_recipe(options.recipe, options.config, options.set)
        recipe = lasting(loaded, options.steps, options.budget)
        family = family_of(recipe) if options.model is None else huggingface.family(options.model)
        corpus = Corpus(options.stores, options.heldout, recipe, family.template, options.seed)
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
        start = partial(model_of, wanted, corpus)
        return carry_out(options, wanted, corpus, start, device, ranks)


def lasting(recipe: Kind, steps: int | None, budget: str | None) -> Kind:
    """Give a recipe the steps that were asked for. Raises UserError where that is no length."""
    if steps is None:
        return recipe
    if budget is not None:
        raise UserError("give --steps or --budget, not both")
    if steps < 1:
        raise UserError(f"--steps {steps}: a run has at least one step")
    return replace(recipe, steps=steps)


def carry_out(
    options: PretrainOptions | DistillOptions,
    wanted: Settings,
    corpus: Corpus,
    start: Callable[[], Pretrained],
    device: torch.device,
    ranks: World,
) -> PretrainResult:
    """Do a run, go on with it, or give the result of a finished one.

    start: gives the model that it begins with.
    """
    old = settings.read(type(wanted), options.out)
    if old is not None:
        seconds = None if options.budget is None else duration(options.budget)
        wanted = settings.lengthen(old, wanted, options.steps, seconds, options.out)
        finished = _finished(options.out, wanted)
        if finished is not None:
            return finished
    run = Pretraining(options.out, wanted, corpus, start(), device, ranks)
    return run.run(fresh=old is None)


def _finished(folder: Path, wanted: Settings) -> PretrainResult | None:
    """Read the result of a run that was finished before, at this length."""
    path = folder / "result.json"
    if not path.exists():
        return None
    result = PretrainResult(**json.loads(path.read_text(encoding="utf-8")))
    return result if result.steps == wanted.recipe.steps else None
