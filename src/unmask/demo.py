"""The main job at a small scale, on text that ships with Python: from raw text to filled masks.

It calls the verbs that a user would call, one after the other, each with a folder of its own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Group
from rich.table import Table

from unmask import console
from unmask.data.prepare import prepare
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
PROBES = (
    "Return the [MASK] of the file.",
    "Raise an [MASK] if the argument is not a string.",
    "If the key is not [MASK], the default value is returned.",
    "This method is called when the [MASK] is closed.",
)
"""Sentences of the text's kind, whose masks the model fills as it learns and at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """A finished pre-training, and how its model fills masks."""

    pretrained: PretrainResult
    fillings: dict[str, list[Filling]]
    """For each probe the best fillings, best first."""

    def to_json(self) -> dict[str, Any]:
        """Give the figures of the pre-training, and the fillings under `results`."""
        return asdict(self.pretrained) | {"results": self.fillings}

    def __rich__(self) -> Group:
        """Show the filled masks, then the figures, then where to look."""
        masks = Table.grid(padding=(0, 2))
        for text, answers in self.fillings.items():
            words = (f"{answer['token_str']} {answer['score']:.2f}" for answer in answers)
            masks.add_row("", text, "  ".join(words))
        run = self.pretrained
        gain = run.unigram_loss - run.heldout_mlm_loss
        rows = {
            "held-out loss": f"{run.heldout_mlm_loss:.2f} nats per masked token, {gain:.2f} below"
            f" the {run.unigram_loss:.2f} of word frequencies alone",
            "masked tokens": f"{run.heldout_mlm_accuracy:.1%} filled right",
            "sentence pairs": f"{run.nsp_accuracy or 0:.1%} told right (chance: 50 %)",
            "trained": f"{run.steps:,} steps, {run.tokens:,} tokens, {run.seconds:.0f} seconds",
            "model": run.model,
            "report": f"{run.report} (open it in a browser)",
        }
        figures = Table.grid(padding=(0, 2))
        for name, value in rows.items():
            figures.add_row("", name, value)
        return Group("Masks filled by the new model:", masks, "", "What it came to:", figures)


@verb(DemoOptions)
def demo(options: DemoOptions) -> DemoResult:
    """Make a tokenizer, a store and a pre-trained model of Python's documentation, and try it.

    Started again with the same folder, it goes on where it was. Raises UserError when the source
    files of the standard library are not on this machine.
    """
    out = options.out
    tell = console.words().print
    tell("1. Text: the documentation that ships with this Python")
    text = write_text(out / "text.txt")
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
    model = Model.from_pretrained(result.model)
    fillings = {text: cast(list[Filling], model.fill(text)) for text in PROBES}
    return DemoResult(pretrained=result, fillings=fillings)


def write_text(path: Path) -> Path:
    """Write the documentation: a line a paragraph, a blank line behind each document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (paragraph for document in documents() for paragraph in [*document, ""])
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
