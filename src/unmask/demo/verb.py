"""The main job at a small scale, on text that ships with Python: from raw text to a task's answers.

It calls the verbs that a user would call, one after the other, each with a folder of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from rich.console import Group
from rich.table import Table

from unmask import console
from unmask.data.prepare import prepare
from unmask.demo import origins, transfer
from unmask.demo.transfer import Transfer, accuracy_of
from unmask.predict.model import Filling, Model
from unmask.text.python_documentation import documents
from unmask.text.train_tokenizer import train_tokenizer
from unmask.train.pretrain import pretrain
from unmask.train.pretraining import PretrainResult
from unmask.verbs import DemoOptions, verb

VOCAB_SIZE = 8_000
RECIPE = "bert-tiny"
SETTINGS: Sequence[str] = (
    "watch.evaluations=8",
    "watch.heldout_tokens=65536",
    "data.batch_tokens=4096",
    "optimizer.rate=3e-3",
    "schedule.warmup=0.03",
)
"""What differs from the recipe, as KEY=VALUE: so little text wants small batches."""
HELD_OUT = "0.05"
BAR = 40
"""Characters of a bar that stands for everything right."""
PROBES = (
    "Return the [MASK] of the file.",
    "Raise an [MASK] if the argument is not a string.",
    "If the key is not [MASK], the default value is returned.",
    "This method is called when the [MASK] is closed.",
)
"""Sentences of the text's kind, whose masks the model fills as it learns and at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """A finished pre-training, how its model fills masks, and what it is worth for a task."""

    pretrained: PretrainResult
    fillings: dict[str, list[Filling]]
    """For each probe the best fillings, best first."""
    transfer: Transfer
    """The model fine-tuned, beside random weights."""

    def to_json(self) -> dict[str, Any]:
        """Give the figures of the pre-training and of the task, and the fillings as `results`."""
        return self.pretrained.to_json() | self.transfer.to_json() | {"results": self.fillings}

    def __rich__(self) -> Group:
        """Show the filled masks, then the figures, then the task, then where to look."""
        masks = Table.grid(padding=(0, 2))
        for text, answers in self.fillings.items():
            words = (f"{answer['token_str']} {answer['score']:.2f}" for answer in answers)
            masks.add_row("", text, "  ".join(words))
        run = self.pretrained
        found = run.figures
        gain = found["unigram_loss"] - found["heldout_mlm_loss"]
        rows = {
            "held-out loss": f"{found['heldout_mlm_loss']:.2f} nats per masked token, {gain:.2f}"
            f" below the {found['unigram_loss']:.2f} of word frequencies alone",
            "masked tokens": f"{found['heldout_mlm_accuracy']:.1%} filled right",
            "sentence pairs": f"{found['nsp_accuracy']:.1%} told right (chance: 50 %)",
            "trained": f"{run.steps:,} steps, {run.tokens:,} tokens, {run.seconds:.0f} seconds",
            "model": run.model,
            "report": f"{run.report} (open it in a browser)",
        }
        figures = Table.grid(padding=(0, 2))
        for name, value in rows.items():
            figures.add_row("", name, value)
        return Group(
            "Masks filled by the new model:",
            masks,
            "",
            "What it came to:",
            figures,
            "",
            f"Which of {len(origins.PACKAGES)} packages a paragraph comes from, fine-tuned:",
            self._task(),
        )

    def _task(self) -> Table:
        """Show the mean scores of the task side by side."""
        task = Table.grid(padding=(0, 2))
        for name, result in self.transfer.sides:
            mean, spread = accuracy_of(result)
            bar = "━" * round(BAR * mean)
            task.add_row("", name, f"{mean:.1%} ± {spread:.1%}", bar)
        chance = self.transfer.chance
        task.add_row("", "always the commonest", f"{chance:.1%}", "━" * round(BAR * chance))
        task.add_row("", "report", f"{self.transfer.report}", "")
        return task


@verb(DemoOptions)
def demo(options: DemoOptions) -> DemoResult:
    """Pre-train a model on Python's documentation, from scratch, and see what that is worth.

    Started again with the same folder, it goes on where it was. Raises UserError when the source
    files of the standard library are not on this machine.
    """
    out = options.out
    tell = console.words().print
    tell("1. Text: the documentation that ships with this Python")
    documentation = documents()
    data = origins.draw(documentation)
    text = out / "text.txt"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text("\n".join(data.text(documentation)), encoding="utf-8")
    tell(f"   {text}, {text.stat().st_size / 1e6:.1f} MB")

    tell(f"2. Tokenizer: a WordPiece vocabulary of {VOCAB_SIZE:,} entries")
    train_tokenizer([str(text)], out=out / "tokenizer", vocab_size=VOCAB_SIZE)

    tell("3. Store: sentences, as token ids")
    prepare([str(text)], tokenizer=out / "tokenizer", out=out / "store")

    tell(f"4. Pre-training from random weights: {RECIPE}, {options.budget}")
    result = pretrain(
        [str(out / "store")],
        out=out / "run",
        recipe=RECIPE,
        heldout=HELD_OUT,
        budget=options.budget,
        set=list(SETTINGS),
        probe=list(PROBES),
    )
    tell(
        f"5. Fine-tuning for {origins.NAME}, from this model and from random weights:"
        f" {len(data.train):,} paragraphs, {transfer.SEEDS} seeds each"
    )
    gain = transfer.compare(result.model, data, out / "task", result.steps)
    model = Model.from_pretrained(result.model)
    fillings = {text: cast(list[Filling], model.fill(text)) for text in PROBES}
    return DemoResult(pretrained=result, fillings=fillings, transfer=gain)
