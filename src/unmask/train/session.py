"""One start of a run: its parts put together, rehearsed or resumed, trained and written out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unmask import config, hardware
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.families.bert import FAMILY
from unmask.predict.model import Model
from unmask.text.tokenizer import Tokenizer
from unmask.train import checkpoint, settings
from unmask.train.batches import StepData
from unmask.train.checkpoint import Damaged, State
from unmask.train.corpus import Corpus
from unmask.train.evaluate import Evaluation
from unmask.train.loop import Plan, Report, Run, Trainer
from unmask.train.metrics import Metrics, rows
from unmask.train.parallel import World
from unmask.train.progress import Watcher, clock
from unmask.train.recipe import Recipe
from unmask.train.rehearsal import SHARE, duration, rehearse
from unmask.train.report import write_report
from unmask.train.settings import Settings

HEADS = {"pairs": "pretraining", "singles": "masked-lm"}
"""The head that a form of examples needs."""
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


class Session:
    """One start of a run: from its folder to where it stops."""

    def __init__(
        self, folder: Path, wanted: Settings, corpus: Corpus, device: torch.device, ranks: World
    ) -> None:
        self.folder, self.settings, self.corpus = folder, wanted, corpus
        self.device, self.ranks = device, ranks
        self.dtype = _precision(wanted.recipe, device)
        self.pretrained = model_of(wanted, corpus.tokenizer)
        self.network = self.pretrained.network.to(device)
        self.network.set_dropout(wanted.recipe.dropout)
        self.network.train()
        self.heldout = corpus.heldout()
        self.watcher = Watcher(wanted.recipe.steps, quiet=not ranks.leads)
        self._check()

    def _check(self) -> None:
        """Refuse now what would only fail later: long sequences, probes without a mask."""
        longest = max(phase.length for phase in self.settings.recipe.data.phases)
        if longest > self.pretrained.spec.positions:
            raise UserError(
                f"--model {self.settings.model} reads {self.pretrained.spec.positions} tokens;"
                f" data.phases has sequences of {longest}"
            )
        for text in self.settings.probe:
            Model(self.pretrained).blanks(text)

    def run(self, fresh: bool) -> PretrainResult:
        """Train to the end of the run, then write its model, its report and its result."""
        state = State(step=0, skipped=0, phase=0, stream={}, tokens=0, seconds=0.0)
        if fresh:
            if any(checkpoint.newest(self.folder / "checkpoints")):
                raise UserError(
                    f"{self.folder} has checkpoints but no config.toml; give another --out"
                )
            self.corpus.verify()
            self._rehearse()
        trainer = self._trainer()
        if not fresh:
            state = self._resume(trainer, state)
        if self.ranks.leads:
            _make(self.folder)
            settings.write(self.folder, self.settings)
        with self._metrics(state.step) as metrics, self.watcher.watch(state):
            run = Run(trainer, state, self._steps_of, self.heldout, metrics, self._observe)
            try:
                run.train()
            except KeyboardInterrupt:
                if self.ranks.leads:
                    huggingface.write(self.pretrained, self.folder / "model")
                self.watcher.say(
                    f"Stopped and saved at step {run.state.step:,}."
                    " The same command goes on from there."
                )
                raise
        return self._finish(run.state)

    def _trainer(self) -> Trainer:
        plan = Plan(
            recipe=self.settings.recipe,
            seed=self.settings.seed,
            folder=self.folder,
            dtype=self.dtype,
        )
        return Trainer(plan, self.network, self.corpus.objective, self.ranks)

    def _steps_of(self, phase: int, state: Mapping[str, Any]) -> Iterator[StepData]:
        return self.corpus.steps(phase, state, self.ranks)

    def _rehearse(self) -> None:
        """Measure what the run will take, fix its steps where it has a budget, and say so."""
        budget = None if self.settings.budget is None else duration(self.settings.budget)
        cost = rehearse(
            self._trainer(),
            self._steps_of(0, {}),
            self.heldout,
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
        self.watcher.steps = recipe.steps
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

    def _resume(self, trainer: Trainer, state: State) -> State:
        """Go on from the newest checkpoint that is whole; say which are not."""
        for path in checkpoint.newest(self.folder / "checkpoints"):
            try:
                state = checkpoint.load(path, self.network, trainer.updates)
            except Damaged as error:
                self.watcher.say(f"{path} is damaged ({error}); using the one before it")
                continue
            self.watcher.say(f"Going on from step {state.step:,} ({path.name})")
            return state
        self.watcher.say(f"No whole checkpoint in {self.folder}: starting from the first step")
        return state

    def _metrics(self, step: int) -> AbstractContextManager[Metrics | None]:
        return Metrics(self.folder, step) if self.ranks.leads else nullcontext()

    def _observe(self, report: Report) -> Mapping[str, Any]:
        """Show a step, and what the model makes of the probes where it was evaluated."""
        self.watcher.step(report)
        if report.evaluation is None:
            return {}
        if not self.settings.probe:
            self.watcher.evaluation(report, {})
            return {}
        self.network.eval()
        answers = Model(self.pretrained).fill(self.settings.probe, top_k=PROBED)
        self.network.train()
        told = {
            text: _words(found) for text, found in zip(self.settings.probe, answers, strict=True)
        }
        self.watcher.evaluation(report, told)
        return {"probes": told}

    def _finish(self, state: State) -> PretrainResult:
        """Write the model, the report and the result of a run that is at its end."""
        result = self.ranks.share(self._write(state) if self.ranks.leads else None)
        assert result is not None
        return result

    def _write(self, state: State) -> PretrainResult:
        huggingface.write(self.pretrained, self.folder / "model")
        evaluations = [
            row for row in rows(self.folder / "metrics.jsonl") if "heldout_mlm_loss" in row
        ]
        held = {name: evaluations[-1][name] for name in Evaluation.__slots__}
        result = PretrainResult(
            steps=state.step,
            tokens=state.tokens,
            seconds=state.seconds,
            skipped=state.skipped,
            model=str(self.folder / "model"),
            report=str(self.folder / "report.html"),
            **held,
        )
        write_report(self.folder, asdict(result), config.dump(self.settings))
        temporary = self.folder / "result.tmp"
        temporary.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.folder / "result.json")
        return result


def model_of(wanted: Settings, tokenizer: Tokenizer) -> Pretrained:
    """Draw random weights for the recipe's structure, or read the checkpoint to go on from."""
    head = HEADS[wanted.recipe.data.form]
    if wanted.model is not None:
        return _checkpoint(wanted.model, head, tokenizer)
    spec = wanted.recipe.model.spec(tokenizer.vocab_size)
    network = FAMILY.network(spec, head)
    network.initialise(torch.Generator().manual_seed(wanted.seed))
    dropout = wanted.recipe.dropout
    kept = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return Pretrained(
        family=FAMILY, spec=spec, network=network, head=head, tokenizer=tokenizer, config=kept
    )


def _checkpoint(source: str, head: str, tokenizer: Tokenizer) -> Pretrained:
    """Read a checkpoint to go on from; its tokenizer must be that of the stores."""
    found = huggingface.read(source, head)
    if found.tokenizer is None or found.tokenizer.fingerprint != tokenizer.fingerprint:
        raise UserError(
            f"--model {source}: its tokenizer is not the one that the stores were made with;"
            f" prepare them with --tokenizer {source}"
        )
    return found


def _precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Choose the type of the products: bfloat16 where the hardware has it, unless told."""
    if recipe.precision == "auto":
        return torch.bfloat16 if hardware.has_bfloat16(device) else torch.float32
    return torch.float32 if recipe.precision == "float32" else torch.bfloat16


def _words(found: Sequence[Any]) -> list[str]:
    """Write the best fillings of a probe; several masks are separated by a slash."""
    several = found if isinstance(found[0], list) else [found]
    return [
        " / ".join(filling["token_str"] for filling in place)
        for place in zip(*several, strict=True)
    ]


def _make(folder: Path) -> None:
    """Make the run's folder; UserError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out {folder}: {error.strerror}; give a folder that can be made"
        ) from error
