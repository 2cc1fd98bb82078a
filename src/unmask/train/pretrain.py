"""Pre-training from end to end: stores in, a run folder with a model and a report out."""

import json
from dataclasses import replace
from pathlib import Path

from unmask import hardware
from unmask.errors import UserError
from unmask.train import settings
from unmask.train.corpus import Corpus
from unmask.train.parallel import world
from unmask.train.pretraining import Pretraining, PretrainResult
from unmask.train.recipe import Recipe, load_recipe
from unmask.train.rehearsal import duration
from unmask.train.settings import Settings
from unmask.verbs import PretrainOptions, verb


@verb(PretrainOptions)
def pretrain(options: PretrainOptions) -> PretrainResult:
    """Pre-train a BERT, or go on with the run that `out` holds.

    Raises UserError for impossible settings or damaged input, and KeyboardInterrupt, after saving,
    when it is stopped by Ctrl-C or SIGTERM.
    """
    hardware.keep_memory()
    device = hardware.device()
    with world(device) as ranks:
        recipe = _recipe(options)
        seconds = None if options.budget is None else duration(options.budget)
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
        old = settings.read(Settings, options.out)
        if old is not None:
            wanted = settings.lengthen(old, wanted, options.steps, seconds, options.out)
            finished = _finished(options.out, wanted)
            if finished is not None:
                return finished
        return Pretraining(options.out, wanted, corpus, device, ranks).run(fresh=old is None)


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
