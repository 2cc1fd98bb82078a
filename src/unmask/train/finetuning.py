"""A fine-tuning run of one seed: its parts put together, evaluated, and its best model kept."""

import heapq
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from unmask import hardware
from unmask.contracts import Kind, Prediction, Task
from unmask.exchange import huggingface
from unmask.exchange.card import alike
from unmask.exchange.huggingface import OURS, Pretrained
from unmask.exchange.warm_start import HEAD, encoder_decoder
from unmask.model.network import Network
from unmask.model.prepacked import prepacked
from unmask.predict.predictor import predictions
from unmask.rewriting import Rewriting
from unmask.scores.signature import signature
from unmask.train import settings
from unmask.train.batches import StepData
from unmask.train.checkpoint import State
from unmask.train.examples import Examples
from unmask.train.layers import grouping
from unmask.train.loop import Plan, Report, Trainer
from unmask.train.metrics import rows
from unmask.train.parallel import World
from unmask.train.progress import Watcher, clock
from unmask.train.rehearsal import rehearse
from unmask.train.session import Session
from unmask.train.task_report import BEHIND, write_report
from unmask.train.tuning import TuningSettings

TIMED = 64
"""Records by which the time of an evaluation is told."""
MISTAKES = 20
"""Most confident mistakes, or largest errors, that are kept for the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a run is to learn, from what, and by what it is judged."""

    kind: Kind
    task: Task
    examples: Callable[[int], Examples]
    """Makes the training data of a seed."""
    records: Callable[[], Iterator[Any]]
    """Reads the evaluation data."""
    count: int
    """Records of the evaluation data."""
    judged: int
    """Of how many of them models are compared by."""
    fresh: bool = False
    """Whether all weights are to be drawn at random."""

    def some(self) -> Iterator[Any]:
        """Read those records that models are compared by, evenly drawn."""
        for number, record in enumerate(self.records()):
            if (number + 1) * self.judged // self.count > number * self.judged // self.count:
                yield record


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a run of one seed came to."""

    seed: int
    metrics: dict[str, float]
    """Of the best model, by their usual names."""
    best_step: int
    """Behind which step the best model was found."""
    steps: int
    """Optimizer steps taken."""
    tokens: int
    """Tokens seen."""
    seconds: float
    """Over all starts of the run."""
    skipped: int
    """Steps without effect, because the loss was not finite."""
    model: str
    """Folder of the best model."""
    report: str
    """The report's file."""
    signature: str | None = None
    """How the figures were found, where that is a matter of choice."""


class Finetuning(Session[Outcome]):
    """One start of a fine-tuning run."""

    def __init__(
        self,
        folder: Path,
        wanted: TuningSettings,
        work: Work,
        start: Pretrained,
        device: torch.device,
        ranks: World,
    ) -> None:
        super().__init__(folder, ranks, Watcher("fine-tuning", quiet=not ranks.leads))
        self.settings, self.tuning, self.work, self.device = wanted, wanted.tuning, work, device
        self.dtype = hardware.products(wanted.tuning.precision, device)
        self.pretrained, self.drawn = adapted(start, work, wanted.seed)
        self.network = self.pretrained.network.to(device)
        self.network.set_dropout(dropout_of(self.pretrained, wanted.tuning.dropout))
        self.network.train()
        self.examples = work.examples(wanted.seed)
        self.main = wanted.tuning.keeping.metric or work.task.metric().main
        self.history: list[tuple[int, float]] = []
        """Steps of evaluations, and the figure that the best is chosen by."""
        self.details: dict[str, Any] = {}

    def trainer(self) -> Trainer:
        """Make what takes the steps."""
        tuning, epoch = self.tuning, self.examples.epoch
        steps = tuning.epochs * epoch
        every = epoch / tuning.keeping.evaluations
        plan = Plan(
            steps=steps,
            phase_ends=(steps,),
            evaluate_at=frozenset(
                max(1, round(every * k))
                for k in range(1, round(tuning.epochs * tuning.keeping.evaluations) + 1)
            ),
            optimizer=tuning.optimizer,
            schedule=tuning.schedule,
            grouping=grouping(tuning.layers, self.pretrained.spec.blocks, epoch),
            checkpoint_seconds=tuning.keeping.checkpoint_seconds,
            keep=tuning.keeping.keep,
            seed=self.settings.seed,
            folder=self.folder,
            dtype=self.dtype,
        )
        return Trainer(plan, self.network, self.work.task, self.ranks)

    def prepare(self) -> None:
        """Say what is trained, and measure what it will take."""
        trainer = self.trainer()
        cost = rehearse(trainer, self.examples.steps({}, self.ranks), self._evaluation_seconds, 0.0)
        steps, tuning = trainer.plan.steps, self.tuning
        every = sum(p.numel() for p in self.network.parameters())
        trained = sum(p.numel() for p in trainer.updates.parameters)
        share = "" if trained == every else f", {trained:,} of them trained"
        new = f"; new: {alike(self.drawn)}" if self.drawn else ""
        self.watcher.say(
            f"{every:,} parameters{share}{new}; {str(self.dtype).removeprefix('torch.')}"
            f" on {hardware.describe(self.device)}"
        )
        tokens = int(self.examples.sizes.sum())
        self.watcher.say(
            f"{len(self.examples.units):,} sequences, {tokens:,} tokens, {tuning.epochs}"
            f" epoch{'' if tuning.epochs == 1 else 's'}: {steps:,} steps of about"
            f" {tokens / self.examples.epoch:,.0f} tokens"
        )
        seconds = cost.seconds(steps, tuning.epochs * tuning.keeping.evaluations)
        self.watcher.say(
            f"about {clock(seconds)} ({cost.step_seconds:.3f} s a step, measured),"
            f" {cost.memory / 2**30:.1f} GiB of memory"
        )

    def keep_settings(self) -> None:
        """Write down what the run was started with."""
        settings.write(self.folder, self.settings)

    def steps_of(self, phase: int, state: Mapping[str, Any]) -> Iterator[StepData]:
        """Give this rank's data, from a state of its stream on."""
        return self.examples.steps(state, self.ranks)

    def evaluate(self, trainer: Trainer) -> Mapping[str, Any]:
        """Give the official figures of the model as it is; rank 0 finds them for all."""
        return self.ranks.share(self._evaluated(trainer) if self.ranks.leads else {})

    def _evaluated(self, trainer: Trainer) -> dict[str, float]:
        """Predict for the records that models are compared by."""
        figures = self._judge(self.network, self.work.some())
        return {BEHIND + name: value for name, value in figures.items()}

    def _judge(self, network: Network, records: Iterator[Any]) -> dict[str, float]:
        """Predict for records; keep the confusion matrix and the most confident mistakes."""
        task = self.work.task
        metric = task.metric()
        wrong: list[tuple[float, int, dict[str, Any]]] = []
        network = prepacked(network, self.dtype)
        found = predictions(task, network, self._tokenizer(), records, self.dtype)
        for number, (record, prediction) in enumerate(found):
            metric.add(record, prediction)
            if not metric.right(record, prediction):
                by, amount = _weight(record.label, prediction)
                told = {
                    "place": record.place,
                    "text": task.shown(record),
                    "label": record.label,
                    "answer": prediction.answer,
                    by: amount,
                }
                keep = heapq.heappush if len(wrong) < MISTAKES else heapq.heappushpop
                keep(wrong, (amount, -number, told))
        figures = metric.result()
        matrix = metric.confusion()
        self.details = {
            "metrics": figures,
            "confusion": matrix and {"labels": matrix[0], "counts": matrix[1].tolist()},
            "mistakes": [told for _, _, told in sorted(wrong, reverse=True, key=lambda w: w[:2])],
            "signature": signature(metric),
        }
        return figures

    def _evaluation_seconds(self, trainer: Trainer) -> float:
        """Time an evaluation by its first records."""
        task, begin, count = self.work.task, time.perf_counter(), 0
        # A model that cannot write yet knows no end, so a few of its texts take long enough.
        most = TIMED // 8 if isinstance(task, Rewriting) else TIMED
        records = islice(self.work.some(), most)
        network = prepacked(self.network, self.dtype)
        for _ in predictions(task, network, self._tokenizer(), records, self.dtype):
            count += 1
        return (time.perf_counter() - begin) * self.work.judged / max(1, count)

    def remember(self, kept: list[dict[str, Any]]) -> None:
        """Take up the evaluations of earlier starts."""
        name = BEHIND + self.main
        self.history = [(row["step"], row[name]) for row in kept if name in row]

    def observe(self, report: Report) -> Mapping[str, Any]:
        """Show a step; keep the model where it is the best so far."""
        self.watcher.step(report)
        if report.evaluation is None:
            return {}
        figures = {name.removeprefix(BEHIND): v for name, v in report.evaluation.items()}
        score = figures[self.main]
        better = all(score > earlier for _, earlier in self.history)
        self.history.append((report.step, score))
        said = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        self.watcher.evaluation(report, said + ("  (best)" if better else ""))
        if better and self.ranks.leads:
            huggingface.write(self.pretrained, self.folder / "model")
            _write_json(self.folder / "evaluation.json", self.details)
        return {}

    def enough(self) -> bool:
        """Tell whether as many evaluations as are waited for have brought nothing better."""
        patience = self.tuning.keeping.patience
        if patience is None or not self.history:
            return False
        scores = [score for _, score in self.history]
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def interrupted(self) -> None:
        """Write nothing more: the best model so far is there, if there is one."""

    def finish(self, state: State) -> Outcome:
        """Write the report and the outcome of a run that is at its end."""
        if state.step < self.watcher.steps:
            self.watcher.say(
                f"Ended at step {state.step:,}: nothing better in"
                f" {self.tuning.keeping.patience} evaluations"
            )
        best = max(self.history, key=lambda entry: (entry[1], -entry[0]))[0]
        row = next(row for row in rows(self.folder / "metrics.jsonl") if row["step"] == best)
        figures = {
            name.removeprefix(BEHIND): value
            for name, value in row.items()
            if name.startswith(BEHIND)
        }
        if self.work.judged < self.work.count:
            figures = self._judged_by_all()
        details = json.loads((self.folder / "evaluation.json").read_text(encoding="utf-8"))
        outcome = Outcome(
            seed=self.settings.seed,
            metrics=figures,
            best_step=best,
            steps=state.step,
            tokens=state.tokens,
            seconds=state.seconds,
            skipped=state.skipped,
            model=str(self.folder / "model"),
            report=str(self.folder / "report.html"),
            signature=details["signature"],
        )
        write_report(self.folder, asdict(outcome), self.settings, self.main, self.examples.epoch)
        _write_json(self.folder / "result.json", asdict(outcome))
        return outcome

    def _judged_by_all(self) -> dict[str, float]:
        """Give the figures of the best model on all records."""
        self.watcher.say(f"The best model, on all {self.work.count:,} rows of the evaluation data")
        best = huggingface.read(self.folder / "model").network.to(self.device)
        figures = self._judge(best, self.work.records())
        _write_json(self.folder / "evaluation.json", self.details)
        return figures

    def _tokenizer(self) -> Any:
        assert self.pretrained.tokenizer is not None, "who makes the work has seen it"
        return self.pretrained.tokenizer


def adapted(start: Pretrained, work: Work, seed: int) -> tuple[Pretrained, list[str]]:
    """Put the task's head on a copy of an encoder; also names what of it is new."""
    kept = {
        **work.task.config(),
        OURS: {"task": work.kind.name, "reading": asdict(work.task.reading)},
    }
    generator = torch.Generator().manual_seed(seed)
    new: list[str] = []
    if becomes_writer(work.kind, start):
        start, drawn = encoder_decoder(start, start, generator)
        new = list(drawn)
    made, drawn_now = start.with_head(work.kind.head, work.task.labels, kept, generator)
    if work.fresh:
        made.network.initialise(generator)
        return made, ["all of them"]
    return made, new + drawn_now


def becomes_writer(kind: Kind, start: Pretrained) -> bool:
    """Tell whether a task that writes starts from a BERT, of which an encoder-decoder is made."""
    return kind.head == HEAD and start.family.name == "bert"


def dropout_of(pretrained: Pretrained, wanted: float | None) -> float:
    """Choose the rate of dropout: what is wanted, else what the model was made with."""
    settings = pretrained.config.get("decoder") or pretrained.config
    own = settings.get(pretrained.family.dropout[0], 0.1)
    return float(own if wanted is None else wanted)


def _weight(label: Any, prediction: Prediction) -> tuple[str, float]:
    """Say how much a mistake tells: how wrong a number is; else how sure the model was."""
    if isinstance(label, float):
        return "error", abs(label - prediction.answer)
    return "confidence", prediction.confidence


def _write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
