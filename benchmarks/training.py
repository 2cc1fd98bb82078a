"""The pre-training step beside transformers: the same masked sentence pairs, the same weights.

    python benchmarks/training.py [--recipes bert-mini bert-base] [--threads 2]

Contestants: what `unmask pretrain` does with a recipe, and the same with the peer's AdamW instead
of Muon, which is the peer's own work; transformers' BertForPreTraining in float32 and with bfloat16
autocast, on the sequences of the same stream. A step is a recipe's: about 8,192 tokens an update.
The peer's sequences of a step are cut into equal batches, each filled up to its longest one; their
size, and whether they are sorted by length, is chosen by a trial and filed. In a second part the
peer comes as it is: allocator and threads as it finds them, batches of 8 as the Trainer's default
has it. There it takes turns with ours once more, with bert-base in two rounds only, since it takes
minutes.

Before anything is timed one batch's losses, the norm of its gradient and the gradients of a few
layers (cosine) are compared: in float32, and in each contestant's own precision. Dropout is 0 on
both sides, as the recipe has it. The share of the peak counts the matrix products that real tokens
need, with scores of masked tokens alone.

Written to benchmarks/results/training.json.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import filing
import training_data
from job import Answers
from novels import novels
from peak import PEAKS, beside_peaks
from turns import Contestant, Turns, finish, take_turns
from unmask.train.recipe import load_recipe

STEPS = {"bert-tiny": 2, "bert-mini": 3, "bert-base": 1}
"""Of a round."""
SIZES = {"bert-tiny": (8, 16, 32), "bert-mini": (8, 16, 32), "bert-base": (8, 16)}
"""Sequences that the peer may read at once, by accumulation; 32 and 64 of bert-base were slower,
and leave no room for the others."""
DEFAULT = 8
"""The same of its Trainer, where nothing is said."""
FEW = {"bert-base": 2}
"""Rounds as they come, where they are not all."""
SAMPLE = ["data.batch_tokens=1024", "data.micro_tokens=1024"]
"""Settings of the step that is compared: it is a small one."""
RATE = 1e-5
"""Low, so that all rounds are alike."""
CLOSE = {"float32": 1e-4, "own": 2e-2}
"""By how much losses and norms may differ, in proportion."""
ALIKE = {"float32": 0.9999, "own": 0.99}
"""Least cosine of the gradient of a layer."""


def contestants(recipe: str, as_they_come: bool) -> Iterator[Contestant]:
    """Name those who take turns at a recipe: in our environment, or as they come."""
    shared: dict[str, Any] = {
        "recipe": recipe,
        "model": str(training_data.MODELS / recipe),
        "count": STEPS[recipe],
        "sample": SAMPLE,
        "rate": RATE,
    }
    ours = {"unmask, AdamW": ["adamw"]} | ({} if as_they_come else {"unmask": []})
    for name, algorithms in ours.items():
        sets = [f"optimizer.algorithm='{algorithm}'" for algorithm in algorithms]
        options = shared | {"sets": sets}
        yield Contestant(name=name, job="training_ours:unmask", options=options)
    sizes = [{"batch": size} for size in SIZES[recipe]]
    for precision in ("float32", "bfloat16"):
        options = shared | {"bfloat16": precision == "bfloat16"}
        yield Contestant(
            name=f"transformers {precision}" + (", as it comes" if as_they_come else ""),
            job="training_peers:transformers",
            options=options | ({"batch": DEFAULT} if as_they_come else {}),
            axes=[] if as_they_come else [sizes, [{}, {"sort": True}]],
            as_it_comes=as_they_come,
        )
    yield from PEAKS


def compared(found: Mapping[str, Answers]) -> dict[str, str]:
    """See who finds other losses or gradients than the first one does in float32."""
    wrong: dict[str, str] = {}
    right = next(iter(found.values()), {})
    for name, answers in found.items():
        for kind in CLOSE:
            losses = answers[f"{kind} losses"]
            off = np.abs(losses / right["float32 losses"] - 1).max()
            slopes = {
                key: cosine(values, right["float32 " + key.removeprefix(f"{kind} ")])
                for key, values in answers.items()
                if key.startswith(kind) and not key.endswith("losses")
            }
            worst = min(slopes, key=lambda key: slopes[key])
            told = (
                f"{kind} losses and norm off by {off:.2g}, gradient of {worst} {slopes[worst]:.6f}"
            )
            print(f"  {name}: {told}", flush=True)
            if not (off < CLOSE[kind] and slopes[worst] > ALIKE[kind]):
                wrong[name] = told
    return wrong


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def measure(recipe: str, content: dict[str, Any], options: Any) -> dict[str, str]:
    """Let the contestants take turns at a recipe, in two parts; gives those that failed."""
    training_data.model(recipe, load_recipe(recipe))
    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for part, as_they_come in (("tuned", False), ("as they come", True)):
        rounds = options.rounds
        if as_they_come:
            rounds = min(rounds, FEW.get(recipe, rounds))

        def file(turns: Turns, part: str = part) -> None:
            found[part] = beside_peaks(turns)
            content[recipe] = {**found, "machine": filing.machine()}
            filing.write("training", content, options.out)

        every = list(contestants(recipe, as_they_come))
        turns = take_turns(every, rounds, options.threads, compared, file)
        file(turns)
        show(recipe, found[part])
        failed |= {f"{recipe}, {part}: {name}": error for name, error in turns.failed.items()}
    return failed


def show(recipe: str, part: Mapping[str, Any]) -> None:
    """Print a line for each contestant."""
    for name, one in part["contestants"].items():
        chosen = "".join(f", {key} {value}" for key, value in one.get("chosen", {}).items())
        share = (
            f"  {one['share_of_peak']:.0%} of the bfloat16 peak" if "share_of_peak" in one else ""
        )
        print(
            f"{recipe} {name + chosen:50} {one['tokens_per_second']:9,.0f} tokens/s"
            f"  {one['memory'] / 2**20:6,.0f} MiB{share}  {one['rounds']} rounds",
            flush=True,
        )


def main() -> None:
    """Measure the recipes that were asked for; others stay filed as they were."""
    parser = filing.options(__doc__)
    parser.add_argument(
        "--recipes", nargs="+", choices=list(STEPS), default=["bert-mini", "bert-base"]
    )
    options = parser.parse_args()
    novels()
    content = filing.read("training", options.out) or {}
    failed: dict[str, str] = {}
    for recipe in options.recipes:
        failed |= measure(recipe, content, options)
    finish(failed)


if __name__ == "__main__":
    main()
