"""A pre-training run: its parts put together, rehearsed, observed and written out."""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask import config, hardware
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.predict.model import Model
from unmask.text.tokenizer import Tokenizer
from unmask.train import settings
from unmask.train.aims import head_of
from unmask.train.batches import StepData
from unmask.train.checkpoint import State
from unmask.train.corpus import Corpus
from unmask.train.evaluate import Heldout
from unmask.train.loop import Plan, Report, Trainer
from unmask.train.metrics import rows
from unmask.train.parallel import World
from unmask.train.progress import Watcher, clock
from unmask.train.recipe import Recipe
from unmask.train.rehearsal import SHARE, duration, rehearse
from unmask.train.report import write_report
from unmask.train.session import Session
from unmask.train.settings import Settings
from unmask.train.structure import check_tokenizer, family_of, fresh, structure

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
    figures: dict[str, float]
    """What the last evaluation found, by the names in `metrics.jsonl`: `heldout_mlm_loss` and the
    like, in nats a prediction; `nsp_accuracy`; and `unigram_loss`, what frequencies alone reach."""
    skipped: int
    """Steps without effect, because the loss was not finite."""
    model: str
    """Folder of the model."""
    report: str
    """The report's file."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints; `nsp_accuracy` is null where nothing is asked about pairs."""
        found = asdict(self)
        return {"nsp_accuracy": None, **found.pop("figures"), **found}


class Pretraining(Session[PretrainResult]):
    """One start of a pre-training run."""

    def __init__(
        self,
        folder: Path,
        wanted: Settings,
        corpus: Corpus,
        start: Pretrained,
        device: torch.device,
        ranks: World,
    ) -> None:
        """Set up a run that begins with the model `start`."""
        super().__init__(folder, ranks, Watcher("pre-training", quiet=not ranks.leads))
        self.settings, self.corpus, self.device = wanted, corpus, device
        self.dtype = hardware.products(wanted.recipe.precision, device)
        self.pretrained = start
        self.network = self.pretrained.network.to(device)
        self.network.set_dropout(wanted.recipe.dropout)
        self.network.train()
        single = wanted.recipe.objective != "permutation"  # whose two streams differ in size
        if single and hardware.compiles(wanted.recipe.compile, device):
            self.network.compile_blocks()
        self.heldout = corpus.heldout()
        self._check()

    def _check(self) -> None:
        """Refuse now what would only fail later: long sequences, probes without a mask."""
        longest = max(phase.length for phase in self.settings.recipe.data.phases)
        if longest > self.pretrained.spec.longest:
            raise UserError(
                f"--model {self.settings.model} reads {self.pretrained.spec.longest} tokens;"
                f" data.phases has sequences of {longest}"
            )
        for text in self.settings.probe:
            Model(self.pretrained).blanks(text)

    def trainer(self) -> Trainer:
        """Make what takes the steps."""
        plan = plan_of(self.settings.recipe, self.settings.seed, self.folder, self.dtype)
        return Trainer(plan, self.network, self.corpus.objective, self.ranks)

    def steps_of(self, phase: int, state: Mapping[str, Any]) -> Iterator[StepData]:
        """Give this rank's data of a phase, from a state of its stream on."""
        return self.corpus.steps(phase, state, self.ranks, full=self.network.compiled)

    def keep_settings(self) -> None:
        """Write down what the run was started with."""
        settings.write(self.folder, self.settings)

    def evaluate(self, trainer: Trainer) -> Mapping[str, Any]:
        """Give figures of the model on the held-out text."""
        return self._evaluated(trainer, self.heldout)

    def _evaluated(self, trainer: Trainer, heldout: Heldout) -> dict[str, float]:
        return heldout.evaluate(
            trainer.network, self.corpus.objective, trainer.world, trainer.passes.autocast()
        )

    def _evaluation_seconds(self, trainer: Trainer) -> float:
        """Time an evaluation by its first batches."""
        few = Heldout(self.heldout.batches[:4], self.heldout.unigrams)
        begin = time.perf_counter()
        self._evaluated(trainer, few)
        share = len(self.heldout.batches) / len(few.batches)
        return (time.perf_counter() - begin) * share

    def prepare(self) -> None:
        """Check the stores, measure what the run will take, and fix its steps by its budget."""
        self.corpus.verify()
        budget = None if self.settings.budget is None else duration(self.settings.budget)
        cost = rehearse(
            self.trainer(),
            self.steps_of(0, {}),
            self._evaluation_seconds,
            0.0 if budget is None else budget * SHARE,
        )
        recipe = self.settings.recipe
        if budget is not None:
            steps = cost.steps(budget * (1 - SHARE), recipe.watch.evaluations)
            recipe = replace(recipe, steps=steps)
        self.settings = replace(
            self.settings,
            recipe=recipe,
            step_seconds=cost.step_seconds,
            evaluation_seconds=cost.evaluation_seconds,
        )
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        tokens = recipe.steps * cost.step_tokens
        seconds = cost.seconds(recipe.steps, recipe.watch.evaluations)
        self.watcher.say(
            f"{parameters:,} parameters; {str(self.dtype).removeprefix('torch.')}"
            f" on {hardware.describe(self.device)}"
        )
        self.watcher.say(
            f"{recipe.steps:,} steps of about {cost.step_tokens:,.0f} tokens: {tokens:,.0f} tokens,"
            f" {tokens / self.corpus.tokens:.1f} times the text"
        )
        self.watcher.say(
            f"about {clock(seconds)} ({cost.step_seconds:.3f} s a step, measured),"
            f" {cost.memory / 2**30:.1f} GiB of memory"
        )

    def observe(self, report: Report) -> Mapping[str, Any]:
        """Show a step, and what the model makes of the probes where it was evaluated."""
        self.watcher.step(report)
        if report.evaluation is None:
            return {}
        held, objective = report.evaluation, self.corpus.objective
        name, pair = objective.tokens, objective.pair
        self.watcher.evaluation(
            report,
            f"held-out {name.upper()} {held[f'heldout_{name}_loss']:.3f}"
            f" (unigram {held['unigram_loss']:.3f})"
            f"  right {100 * held[f'heldout_{name}_accuracy']:.1f} %"
            + ("" if pair is None else f"  {pair.upper()} {100 * held[f'{pair}_accuracy']:.1f} %"),
        )
        if not self.settings.probe:
            return {}
        with self.network.evaluating():
            answers = Model(self._speaking()).fill(self.settings.probe, top_k=PROBED)
        told = {
            text: _words(found) for text, found in zip(self.settings.probe, answers, strict=True)
        }
        for text, words in told.items():
            self.watcher.say(f"    {text} -> {', '.join(words)}")
        return {"probes": told}

    def _speaking(self) -> Pretrained:
        """Give the model; where it is told languages, in the first one of the stores."""
        first = next(iter(self.corpus.languages), None)
        return self.pretrained if first is None else self.pretrained.speaking(first)

    def interrupted(self) -> None:
        """Write the model as it is."""
        huggingface.write(self.pretrained, self.folder / "model")

    def finish(self, state: State) -> PretrainResult:
        """Write the model, the report and the result of a run that is at its end."""
        huggingface.write(self.pretrained, self.folder / "model")
        evaluations = [row for row in rows(self.folder / "metrics.jsonl") if "unigram_loss" in row]
        objective = self.corpus.objective
        names = [f"{objective.pair}_accuracy", "unigram_loss"]
        names += [name for name in evaluations[-1] if name.startswith("heldout_")]
        result = PretrainResult(
            steps=state.step,
            tokens=state.tokens,
            seconds=state.seconds,
            skipped=state.skipped,
            model=str(self.folder / "model"),
            report=str(self.folder / "report.html"),
            figures={name: evaluations[-1][name] for name in names if name in evaluations[-1]},
        )
        write_report(self.folder, result.to_json(), config.dump(self.settings), objective)
        temporary = self.folder / "result.tmp"
        temporary.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.folder / "result.json")
        return result


def plan_of(recipe: Recipe, seed: int, folder: Path, dtype: torch.dtype) -> Plan:
    """Decide what a run of a recipe is to do."""
    shares = np.cumsum([phase.share for phase in recipe.data.phases])
    every = recipe.steps / recipe.watch.evaluations
    return Plan(
        steps=recipe.steps,
        phase_ends=tuple(np.round(shares * recipe.steps).astype(int).tolist()),
        evaluate_at=frozenset(math.ceil(every * k) for k in range(1, recipe.watch.evaluations + 1)),
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        checkpoint_seconds=recipe.watch.checkpoint_seconds,
        keep=recipe.watch.keep,
        seed=seed,
        folder=folder,
        dtype=dtype,
    )


def model_of(wanted: Settings, corpus: Corpus) -> Pretrained:
    """Draw random weights for the recipe's structure, or read the checkpoint to go on from.

    Raises UserError where its family has not the head that the objective needs.
    """
    tokenizer, recipe = corpus.tokenizer, wanted.recipe
    if wanted.model is not None:
        return _checkpoint(wanted.model, recipe, tokenizer)
    family = family_of(recipe)
    spec = structure(recipe, tokenizer.vocab_size, tokenizer.pad or 0, len(tokenizer.languages))
    made = fresh(family, spec, head_of(recipe), tokenizer, recipe.dropout)
    made.network.initialise(torch.Generator().manual_seed(wanted.seed))
    return made


def _checkpoint(source: str, recipe: Recipe, tokenizer: Tokenizer) -> Pretrained:
    """Read a checkpoint to go on from; it must suit the stores and the recipe."""
    head, family = head_of(recipe), huggingface.family(source)
    if head not in family.heads:
        if list(family.heads) == ["seq2seq-lm"]:
            raise UserError(
                f"--model {source} is of the family {family.name}, which is not pre-trained but"
                " learns of texts and what is to be written: unmask finetune translation does that"
            )
        raise UserError(
            f"--model {source} is of the family {family.name}, which has no head {head} as this"
            f" recipe needs; take --recipe {family.name}-mini, or another objective and data.form"
        )
    found = huggingface.read(source, head)
    check_tokenizer(found, tokenizer, f"--model {source}")
    if found.spec.causal != (recipe.objective == "causal"):
        sees = "only what comes before" if found.spec.causal else "what comes behind it, too"
        raise UserError(
            f"--model {source}: each token sees {sees}; objective {recipe.objective} is for"
            " other models"
        )
    return found


def _words(found: Sequence[Any]) -> list[str]:
    """Write the best fillings of a probe; several masks are separated by a slash."""
    several = found if isinstance(found[0], list) else [found]
    return [
        " / ".join(filling["token_str"] for filling in place)
        for place in zip(*several, strict=True)
    ]
