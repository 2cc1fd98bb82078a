"""What pre-training is worth: a network fine-tuned from its weights, and from random ones."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from unmask.demo import origins
from unmask.predict.model import Model
from unmask.train import page
from unmask.train.finetune import FinetuneResult, finetune
from unmask.train.metrics import rows

EPOCHS, RATE, LENGTH, SEEDS = 8, 1e-3, 64, 3
"""Of the fine-tuning, the same on both sides. The rate is the better one for random weights."""
SIDES = {"from the pre-trained weights": "#0b6e99", "from random weights": "#c2571a"}
"""What is compared, and the colours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """The same fine-tuning from two starts."""

    pretrained: FinetuneResult
    random: FinetuneResult
    chance: float
    """Accuracy of always giving the commonest label of the test."""
    report: str
    """A page with both."""

    @property
    def sides(self) -> list[tuple[str, FinetuneResult]]:
        """The starts by their names, with what came of them."""
        return list(zip(SIDES, (self.pretrained, self.random), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Give the task's name, both mean accuracies over the seeds, and their deviations."""
        mean, spread = accuracy_of(self.pretrained)
        other, other_spread = accuracy_of(self.random)
        return {
            "task": origins.NAME,
            "finetuned": mean,
            "finetuned_std": spread,
            "from_random": other,
            "from_random_std": other_spread,
            "comparison": self.report,
        }


def compare(model: str, data: origins.Origins, out: Path, steps: int) -> Transfer:
    """Fine-tune a pre-trained model, and the same architecture from random weights.

    steps: of the pre-training; after a longer one the fine-tuning begins anew. Both sides have the
    same seeds, data and settings. Goes on where it was, as `finetune` does.
    """
    train, test = data.write(out)
    blank = Model.from_pretrained(model)
    blank.network.initialise(torch.Generator().manual_seed(0))
    blank.save_pretrained(out / "random")
    pretrained, scratch = (
        finetune(
            "text-classification",
            start,
            train=train,
            eval=test,
            out=out / folder,
            epochs=EPOCHS,
            rate=RATE,
            length=LENGTH,
            seeds=SEEDS,
        )
        for start, folder in (
            (model, f"from-pretrained-{steps}-steps"),
            (str(out / "random"), "from-random"),
        )
    )
    labels = Counter(label for _, label in data.test)
    transfer = Transfer(
        pretrained=pretrained,
        random=scratch,
        chance=max(labels.values()) / labels.total(),
        report=str(out / "report.html"),
    )
    _write(transfer, data, out)
    return transfer


def _write(transfer: Transfer, data: origins.Origins, out: Path) -> None:
    """Write the page that sets both sides beside each other."""
    lines = "".join(
        page.line([name, f"{accuracy:.1%}", f"{spread:.1%}"])
        + f'<td><a href="{result.folder.name}/report.html">its report</a>'
        for name, result in transfer.sides
        for accuracy, spread in [accuracy_of(result)]
    )
    head = page.line(["fine-tuned", "accuracy", "deviation", ""], "th")
    parts = [
        f"<p>Which of {len(origins.PACKAGES)} packages of Python's library does a paragraph of its"
        f" documentation come from? Learned from {len(data.train):,} paragraphs, tested on"
        f" {len(data.test):,} of other docstrings, which the pre-training has not seen either."
        f" The network, the data and the settings are the same; {SEEDS} seeds each.",
        _drawing(transfer),
        f"<table>{head}{lines}</table>",
    ]
    page.write(out, "What pre-training is worth", parts)


def _drawing(transfer: Transfer) -> str:
    """Draw the seeds' accuracies with their means, and how they came about."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, (name, result) in enumerate(transfer.sides):
        ink = SIDES[name]
        mean, _ = accuracy_of(result)
        seeds = [outcome.metrics["accuracy"] for outcome in result.outcomes]
        left.bar(place, 100 * mean, color=ink, alpha=0.35, width=0.6)
        above = 100 * max(seeds) + 3
        left.text(place, above, f"{mean:.1%}", ha="center", weight="bold", color=ink)
        left.plot(
            [place] * len(seeds), [100 * seed for seed in seeds], "o", color=ink, markersize=4
        )
        for outcome in result.outcomes:
            table = rows(Path(outcome.report).parent / "metrics.jsonl")
            evaluations = [row for row in table if "eval_accuracy" in row]
            right.plot(
                range(1, len(evaluations) + 1),
                [100 * row["eval_accuracy"] for row in evaluations],
                color=ink,
                label=name if outcome is result.outcomes[0] else None,
            )
    left.set_xticks(range(len(SIDES)), list(SIDES))
    left.set_ylabel("% right")
    right.set(xlabel="epoch", ylabel="% right")
    for axes in (left, right):
        axes.axhline(
            100 * transfer.chance,
            color="#5b6b7c",
            linestyle="--",
            linewidth=1,
            label="always the commonest",
        )
        axes.set_ylim(0, 100)
    right.legend(frameon=False, loc="upper left")
    return page.svg(figure)


def accuracy_of(result: FinetuneResult) -> tuple[float, float]:
    """Give the mean accuracy over the seeds, and its deviation."""
    assert result.deviations is not None, "there are several seeds"
    return result.metrics["accuracy"], result.deviations["accuracy"]
