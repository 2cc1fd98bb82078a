"""The pre-training step beside transformers: the same masked sentence pairs, the same weights.

    python benchmarks/training.py [--recipes bert-mini bert-base] [--threads 2]

Contestants: what `unmask pretrain` does with a recipe, and the same with the peer's AdamW instead
of Muon; transformers' BertForPreTraining in float32 and with bfloat16 autocast, on the sequences
of the same stream in random order, each batch filled up to its longest one. A step is a recipe's:
about 8,192 tokens an update, for the peer in batches of the size that was fastest. Peers run in
our environment (allocator, threads) and once as they come: allocator and threads as they find them,
batches of 8 as the Trainer's default has it; what comes so has a turn of its own, with bert-base of
one round, since it takes minutes.

Before anything is timed the losses and the gradient's norm of one batch are compared: in float32,
and in each contestant's own precision. Dropout is 0 on both sides, as the recipe has it. The share
of the peak counts the matrix products that real tokens need, with scores of masked tokens alone.

Written to benchmarks/results/training.json.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import filing
import training_data
from novels import novels
from peak import PEAKS, beside_peaks
from turns import Answers, Contestant, take_turns
from unmask.train.recipe import load_recipe

STEPS = {"bert-tiny": 2, "bert-mini": 3, "bert-base": 1}
"""Of a round."""
FASTEST = 16
"""Sequences that the peer reads at once, by accumulation: the fastest of 8, 16, 32 and 64."""
DEFAULT = 8
"""The same of its Trainer, where nothing is said."""
SAMPLE = ["data.batch_tokens=1024", "data.micro_tokens=1024"]
"""Settings of the step that is compared: it is a small one."""
RATE = 1e-5
"""Low, so that all rounds are alike."""
CLOSE = {"float32": 1e-4, "own": 2e-2}
"""By how much losses and norms may differ, in proportion."""


def contestants(recipe: str, as_they_come: bool) -> Iterator[Contestant]:
    """Name those who take turns at a recipe: in our environment, or as they come."""
    shared: dict[str, Any] = {
        "recipe": recipe,
        "model": str(training_data.MODELS / recipe),
        "count": STEPS[recipe],
        "sample": SAMPLE,
        "rate": RATE,
    }
    if not as_they_come:
        for name, sets in (
            ("unmask", []),
            ("unmask, AdamW", ["optimizer.algorithm='adamw'"]),
        ):
            options = shared | {"sets": sets}
            yield Contestant(name=name, job="training_ours:unmask", options=options)
    for precision in ("float32", "bfloat16"):
        options = shared | {"bfloat16": precision == "bfloat16"}
        yield Contestant(
            name=f"transformers {precision}" + (", as it comes" if as_they_come else ""),
            job="training_peers:transformers",
            options=options | {"batch": DEFAULT if as_they_come else FASTEST},
            as_it_comes=as_they_come,
        )
    yield from PEAKS


def compared(found: Mapping[str, Answers]) -> None:
    """See that all find the same losses and gradients; the first one's in float32 are right."""
    right = next(iter(found.values()))["float32"]
    for name, answers in found.items():
        for precision, limit in CLOSE.items():
            values = answers[precision]
            print(f"  {name}, {precision}: {np.array2string(values, precision=5)}", flush=True)
            off = np.abs(values / right - 1).max()
            assert off < limit, f"{name}: {precision} is off by {off:.2g}"


def measure(recipe: str, rounds: int, threads: int) -> dict[str, Any]:
    """Let the contestants take turns at a recipe."""
    training_data.model(recipe, load_recipe(recipe))
    found: dict[str, Any] = {}
    for as_they_come in (False, True):
        count = 1 if as_they_come and recipe == "bert-base" else rounds
        part = beside_peaks(
            take_turns(list(contestants(recipe, as_they_come)), count, threads, compared)
        )
        for name, one in part["contestants"].items():
            print(
                f"{recipe} {name:36} {one['tokens_per_second']:9,.0f} tokens/s"
                f"  {one['memory'] / 2**20:6,.0f} MiB"
                f"  {one['share_of_peak']:.0%} of the bfloat16 peak",
                flush=True,
            )
        found.setdefault("peaks", part["peaks"])
        found.setdefault("contestants", {}).update(part["contestants"])
    return found


def main() -> None:
    """Measure the recipes that were asked for; others stay filed as they were."""
    parser = filing.options(__doc__)
    parser.add_argument(
        "--recipes", nargs="+", choices=list(STEPS), default=["bert-mini", "bert-base"]
    )
    options = parser.parse_args()
    novels()
    content = filing.read("training", options.out) or {}
    for recipe in options.recipes:
        content[recipe] = measure(recipe, options.rounds, options.threads)
        filing.write("training", content, options.out)


if __name__ == "__main__":
    main()
