"""What pre-training brings: our own encoder and the same one from random weights, by labels given.

A bert-tiny is pre-trained on film reviews and novels, and then fine-tuned on SST-2 and IMDB with
100, 1,000 and all labels (of IMDB 5,000), three seeds each; beside it the same architecture from
random weights. A seed draws the examples, the new weights and the order. The best epoch, and with
the first seed one of four optimizers and rates, are chosen by 500 further rows of the training
file (all labels are learned with what suited 1,000); that model is scored once, on the official dev
set of SST-2 or on 2,500 test reviews of IMDB, of which each side reads the first 128 tokens.
Reviews of IMDB's test set were not pre-trained on.

    python benchmarks/transfer.py pretrain     (about an hour of two cores)
    python benchmarks/transfer.py run          (resumed where it was stopped; in parts by --data)
    python benchmarks/transfer.py report

Written to benchmarks/results: transfer.json and transfer.svg.
"""

import argparse
import gzip
import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import unmask
from unmask.exchange import huggingface
from unmask.train.finetune import FinetuneResult

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
WORK = ROOT / ".bench" / "transfer"
PRETRAINED = WORK / "pretrained"
RESULTS = ROOT / "benchmarks" / "results"
VOCABULARY = 16_000
"""Entries of the encoder's tokenizer."""
SEEDS = (0, 1, 2)
SIZES = (100, 1000, None)
"""Labels; None: all."""
OPTIMIZERS = (("adamw", 3e-4), ("adamw", 1e-3), ("adamw", 3e-3), ("muon", 1e-3))
"""Algorithms and rates; the encoder was pre-trained with Muon."""
STARTS = ("pre-trained", "random")
SETTINGS = ("dropout=0.1", "keeping.checkpoint_seconds=600")
CHOOSING = 500
"""Rows of the training file by which the best epoch is chosen."""
Row = dict[str, str]
INK = {"pre-trained": "#0b6e99", "random": "#c2571a"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Set:
    """A data set of the comparison."""

    name: str
    train: Path
    test: Path
    length: int
    """Longest sequence."""
    epochs: dict[int | None, int]
    """By labels."""
    most: int | None = None
    """Labels that count as all."""
    tests: int | None = None
    """Rows of the test file that are scored; None: all."""


SETS = (
    Set(
        name="sst2",
        train=DATA / "sst2/train.tsv.gz",
        test=DATA / "sst2/dev.tsv",
        length=64,
        epochs={100: 40, 1000: 20, None: 3},
    ),
    Set(
        name="imdb",
        train=DATA / "imdb/train.jsonl.gz",
        test=DATA / "imdb/test.jsonl.gz",
        length=128,
        epochs={100: 40, 1000: 12, None: 5},
        most=5_000,
        tests=2_500,
    ),
)


def rows(path: Path) -> list[Row]:
    """Read a file of texts and labels."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        if ".jsonl" in path.name:
            return [json.loads(line) for line in lines]
        next(lines)
        pairs = (line.rstrip("\n").split("\t") for line in lines)
        return [{"text": text, "label": label} for text, label in pairs]


def drawn(chosen: Set, count: int | None, seed: int) -> Path:
    """Write a balanced draw of the rows to train on, once; gives its path."""
    name = f"{chosen.name}-{count or 'all'}-{seed if count else 0}"
    return written(name, lambda: balanced(split(chosen)[1], count, seed))


def split(chosen: Set) -> tuple[list[Row], list[Row]]:
    """Divide the training file: rows to choose the best epoch by, and rows to train on."""
    found = rows(chosen.train)
    random.Random(0).shuffle(found)
    return found[:CHOOSING], found[CHOOSING:][: chosen.most]


def balanced(found: list[Row], count: int | None, seed: int) -> list[Row]:
    """Draw so many rows, as many of each label; all of them where no number is given."""
    if count is None:
        return found
    rng = random.Random(seed)
    labels = sorted({row["label"] for row in found})
    groups = ([row for row in found if row["label"] == label] for label in labels)
    return [row for group in groups for row in rng.sample(group, count // len(labels))]


def written(name: str, make: Callable[[], list[Row]]) -> Path:
    """Write rows to a file of the study's folder, if it is not there; gives its path."""
    path = WORK / "data" / f"{name}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in make()), encoding="utf-8")
    return path


def pretrain(steps: int) -> None:
    """Pre-train on reviews, and some novels among them."""
    reviews = [str(DATA / "imdb" / f"{part}.jsonl.gz") for part in ("unlabelled", "train")]
    novels = [str(DATA / "novels" / "train")]
    tokenizer = WORK / "tokenizer"
    if not tokenizer.exists():
        unmask.train_tokenizer([*reviews, *novels], out=tokenizer, vocab_size=VOCABULARY)
    for name, texts in (("reviews", reviews), ("novels", novels)):
        unmask.prepare(texts, tokenizer=tokenizer, out=WORK / name)
    unmask.pretrain(
        [str(WORK / "reviews"), f"{WORK / 'novels'}=0.25"],
        recipe="bert-tiny",
        out=PRETRAINED,
        steps=steps,
        heldout="0.005",
        set=["optimizer.rate=2e-3", "watch.evaluations=10"],
    )


def start(kind: str) -> Path:
    """Give the folder of an encoder to start from."""
    if kind == "pre-trained":
        return PRETRAINED / "model"
    folder = WORK / "random"
    if not folder.exists():
        found = huggingface.read(start("pre-trained"))  # of the same architecture
        network = found.family.network(found.spec, found.head)
        network.initialise(torch.Generator().manual_seed(0))
        huggingface.write(replace(found, network=network), folder)
    return folder


def tune(
    chosen: Set, size: int | None, seed: int, kind: str, algorithm: str, rate: float
) -> FinetuneResult:
    """Fine-tune once; the best epoch is chosen by rows that are not trained on."""
    return unmask.finetune(
        "text-classification",
        str(start(kind)),
        train=str(drawn(chosen, size, seed)),
        eval=str(written(f"{chosen.name}-choosing", lambda: split(chosen)[0])),
        out=WORK / "runs" / f"{chosen.name}-{size or 'all'}-{kind}-{seed}-{algorithm}-{rate}",
        epochs=chosen.epochs[size],
        rate=rate,
        length=chosen.length,
        set=[*SETTINGS, f"optimizer.algorithm='{algorithm}'"],
        seed=seed,
    )


def run(starts: Sequence[str], sets: Sequence[Set]) -> None:
    """Take all runs that were not taken yet, the small ones first."""
    cases = [
        (size, chosen, seed, kind)
        for size in SIZES
        for chosen in sets
        for seed in SEEDS
        for kind in starts
    ]
    for size, chosen, seed, kind in cases:
        name = f"{chosen.name}-{size or 'all'}-{kind}-{seed}"
        path = WORK / "runs" / f"{name}.json"
        if path.exists():
            continue
        first = path.with_name(f"{chosen.name}-{size or SIZES[1]}-{kind}-{SEEDS[0]}.json")
        optimizers = [json.loads(first.read_text())["optimizer"]] if first.exists() else OPTIMIZERS
        tried = [
            (optimizer, tune(chosen, size, seed, kind, *optimizer)) for optimizer in optimizers
        ]
        optimizer, result = max(tried, key=lambda one: one[1].metrics["accuracy"])
        test = written(
            f"{chosen.name}-test", lambda one=chosen: balanced(rows(one.test), one.tests, 0)
        )
        found = unmask.evaluate("text-classification", result.model, data=str(test))
        write(path, {**result.to_json(), "optimizer": optimizer, "test": dict(found)})
        print(name, found["accuracy"], flush=True)


def report() -> None:
    """Draw the accuracies by labels, and write them down."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    chosen: dict[str, Any] = {}
    for path in sorted((WORK / "runs").glob("*.json")):
        name, size, rest = path.stem.split("-", 2)
        kind = rest.rpartition("-")[0]
        filed = json.loads(path.read_text())
        accuracies = found.setdefault(name, {}).setdefault(size, {}).setdefault(kind, [])
        accuracies.append(filed["test"]["accuracy"])
        chosen[f"{name}-{size}-{kind}"] = filed["optimizer"]
    if not found:
        sys.exit("no runs yet; begin with: python benchmarks/transfer.py run")
    table = Table("data", "labels", *STARTS, "gain")
    for name, sizes in found.items():
        for size in (str(size or "all") for size in SIZES):
            if set(sizes.get(size, {})) == set(STARTS):
                table.add_row(name, size, *cells(sizes[size]))
    Console().print(table)
    settings = {
        "settings": SETTINGS,
        "optimizers": OPTIMIZERS,
        "epochs": {
            one.name: {str(size or "all"): count for size, count in one.epochs.items()}
            for one in SETS
        },
    }
    content = {"accuracy": found, "chosen": chosen, **settings}
    write(RESULTS / "transfer.json", content)
    plot(found)


def write(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def cells(kinds: dict[str, list[float]]) -> list[str]:
    means = [statistics.fmean(kinds[kind]) for kind in STARTS]
    spread = [statistics.stdev(kinds[k]) if len(kinds[k]) > 1 else 0.0 for k in STARTS]
    shown = [f"{100 * m:.1f} ± {100 * s:.1f}" for m, s in zip(means, spread, strict=True)]
    return [*shown, f"{100 * (means[0] - means[1]):+.1f}"]


def plot(found: dict[str, Any]) -> None:
    """Draw a curve for each start, with its seeds as points."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, chosen in zip(figure.subplots(1, len(SETS), sharey=True), SETS, strict=True):
        sizes = [str(size or "all") for size in SIZES]
        for kind in STARTS:
            values = [found.get(chosen.name, {}).get(size, {}).get(kind, []) for size in sizes]
            at = [place for place, value in enumerate(values) if value]
            means = [100 * statistics.fmean(value) for value in values if value]
            axes.plot(at, means, color=INK[kind], label=kind)
            for place, value in enumerate(values):
                axes.scatter([place] * len(value), [100 * v for v in value], s=14, color=INK[kind])
        axes.set_xticks(
            range(len(sizes)), [size if size == "all" else f"{int(size):,}" for size in sizes]
        )
        axes.set(title=chosen.name.upper().replace("SST2", "SST-2"), xlabel="labels")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[0].legend(frameon=False, loc="lower right")
    figure.savefig(RESULTS / "transfer.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("pretrain", "run", "report"))
    parser.add_argument("--steps", type=int, default=9_000, help="of the pre-training")
    parser.add_argument("--start", choices=STARTS, help="only the runs that begin so")
    parser.add_argument("--data", choices=[one.name for one in SETS], help="only the runs on this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "pretrain":
        pretrain(options.steps)
    elif options.what == "run":
        sets = [one for one in SETS if options.data in (None, one.name)]
        run(STARTS if options.start is None else (options.start,), sets)
    else:
        report()


if __name__ == "__main__":
    main()
