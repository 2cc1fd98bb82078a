"""One table of how fast everything is beside what one would use instead, from what is filed.

    python benchmarks/report.py

Reads what the other benchmarks wrote to benchmarks/results, and prints a row for each work and each
peer: what both reach (real tokens a second, or seconds; median and spread), how many times as fast
ours is, what it should be, the share of the bfloat16 peak that ours reaches, and the peak memory of
both. What was not measured is left out, and so is, with a line on standard error, what is filed in
another form. Who answers too far from the others is shown, but has no ratio.
Written to benchmarks/results: speed.json and speed.svg.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import charts
import filing
from row import Contestants, Row, beside, fastest, in_seconds

ROUNDS = 5
"""Of which there should be at least so many."""


def of_training(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the pre-training steps, with ours of the same part.

    What is wanted holds for the same optimizer; a recipe's own is Muon, which does more.
    """
    targets = {
        "bert-base": {"transformers float32": 4.5, "transformers bfloat16": 1.6},
        "bert-mini": {"transformers float32": 6.0, "transformers bfloat16": 3.0},
    }
    shares = {"bert-base": 0.65}
    for recipe, aims in targets.items():
        for part in ("tuned", "as they come"):
            contestants: Contestants = found.get(recipe, {}).get(part, {}).get("contestants", {})
            peers = {name: one for name, one in contestants.items() if "unmask" not in name}
            work = f"pre-training, {recipe}"
            if (ours := contestants.get("unmask, AdamW")) is not None:
                for name, one in peers.items():
                    share = shares.get(recipe) if name in aims else None
                    yield beside(work, name, ours, one, aims.get(name), share)
            if (ours := contestants.get("unmask")) is not None:
                for name, one in peers.items():
                    yield beside(f"{work}, Muon", name, ours, one)


def of_questions(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the fine-tuning steps on questions."""
    contestants: Contestants = found["contestants"]
    for name, target in (
        ("transformers float32, as it comes", 8.0),
        ("transformers bfloat16", None),
        ("transformers bfloat16, grouped by length", 1.5),
    ):
        if "unmask" in contestants and name in contestants:
            ours, theirs = contestants["unmask"], contestants[name]
            yield beside("fine-tuning, SQuAD of 384", name, ours, theirs, target)


def of_encoding(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the encoders: each peer at its best of float32 and bfloat16, then with int8."""
    int8 = counting_int8(found)
    for work in ("reviews", "sentences", "16", "128"):
        contestants: Contestants = found.get(work, {}).get("contestants", {})
        single = work.isdigit()
        name = f"one text of {work}" if single else f"encoding {work}"
        best = fastest(contestants, "unmask", lambda full: "int8" not in full)
        if best is None:
            continue
        ours = contestants[best]
        yield from best_of_peers(name, contestants, ours, single)
        for peer, one in contestants.items():
            if peer.endswith("as it comes") or not (one["counts"] or peer.startswith("unmask")):
                yield beside(name, peer, ours, one)
        narrow = fastest(contestants, "", lambda peer: peer in int8 and "unmask" not in peer)
        own = fastest(contestants, "unmask", lambda full: "int8" not in full or full in int8)
        if narrow is not None and own is not None:
            target = None if single else 1.0
            yield beside(f"{name}, by {own}", narrow, contestants[own], contestants[narrow], target)


def best_of_peers(
    name: str, contestants: Contestants, ours: Mapping[str, Any], single: bool
) -> Iterator[Row]:
    """Compare with each peer's best; a single text is to be read faster than by all of torch's."""
    for peer, target in (
        ("transformers", 1.4),
        ("sentence-transformers", 1.4),
        ("onnxruntime", 1.4),
        ("openvino", 1.0),
    ):
        aim: float | None = target
        if single:
            aim = 1.0 if "transformers" in peer else None
        # Of the torch peers the lowest latency counts, and it may be that of one as it comes.
        came = single and aim is not None
        best = fastest(
            contestants,
            peer,
            lambda full, came=came: "int8" not in full and (came or "comes" not in full),  # type: ignore[misc]
        )
        if best is not None:
            yield beside(name, f"{best}, its best", ours, contestants[best], aim)


def counting_int8(found: Mapping[str, Any]) -> set[str]:
    """Name the contestants in int8 that keep the task's score, which the sentences show."""
    judged: Contestants = found.get("sentences", {}).get("contestants", {})
    return {name for name, one in judged.items() if "int8" in name and one["counts"]}


def of_stream(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare making batches."""
    contestants: Contestants = found["contestants"]
    best = fastest(contestants, "transformers'")
    if best is not None and "pairs of 128" in contestants:
        ours, theirs = contestants["pairs of 128"], contestants[best]
        yield beside("masked, packed NSP batches", best, ours, theirs, 2.0)


def of_times(found: Mapping[str, Any], work: str) -> Iterator[Row]:
    """Compare those that are filed with seconds, ours first."""
    contestants: Contestants = found["contestants"]
    ours = next((one for name, one in contestants.items() if name.startswith("unmask")), None)
    for name, one in contestants.items():
        if ours is not None and one is not ours:
            yield in_seconds(work, name, ours, one, 1.0)


def of_gpu(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare training and encoding on a GPU, where outputs were found to be right."""
    checks = found["check"].items()
    if wrong := [
        name for name, told in checks if not isinstance(told, Mapping) or not told["right"]
    ]:
        print(f"gpu.json is left out: wrong outputs ({', '.join(wrong)})", file=sys.stderr)
        return
    for case, told in found["cases"].items():
        contestants = told.get("contestants", {})
        for kind in ("train", "forward"):
            ran = {n: o[kind] for n, o in contestants.items() if "seconds" in o.get(kind, {})}
            ours = [one for name, one in ran.items() if name.startswith("unmask")]
            for name, one in ran.items():
                if name.startswith("unmask") or not ours:
                    continue
                best = max(ours, key=lambda other: other["tokens_per_second"])
                share = best["operations_per_second"] / found["peak"]
                aim = {"large": 0.55, "base": 0.50}.get(case.split()[0])
                default = kind == "train" and name == "transformers"
                yield beside(
                    f"GPU, {kind}, {case}",
                    name,
                    {**best, "share_of_peak": share},
                    one,
                    2.5 if default else None,
                    aim if kind == "train" else None,
                )


FILED: dict[str, Callable[[Mapping[str, Any]], Iterator[Row]]] = {
    "training": of_training,
    "questions": of_questions,
    "encoding": of_encoding,
    "stream": of_stream,
    "prepare": lambda content: of_times(content, "unmask prepare"),
    "cold": lambda content: of_times(content, "first answer"),
    "gpu": of_gpu,
}
"""What makes rows of each file."""


def rows(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Make a row of everything that is filed; also gives the machine of each file."""
    found: list[Row] = []
    machines: dict[str, Any] = {}
    for name, make in FILED.items():
        content = filing.read(name, folder)
        if content is None:
            continue
        try:
            found += list(make(content))
            machines[name] = content.get("machine")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            told = f"{name}.json is left out, it is of another form: {error!r}"
            print(told, file=sys.stderr)
        for who, why in content.get("failed", {}).items():
            print(f"{name}.json lacks {who}: {why}", file=sys.stderr)
    return found, machines


def show(every: list[Row]) -> None:
    """Print the table."""
    heads = ("work", "against", "ours", "theirs", "ratio", "target", "", "of the peak", "MiB")
    table = Table(*heads, box=None)
    for row in every:
        aim = "" if row.target is None else f">= {row.target:g}"
        share = "" if row.share is None else f"{row.share:.0%}"
        share += "" if row.share_target is None else f" (>= {row.share_target:.0%})"
        memory = "" if row.memory is None else " / ".join(f"{m / 2**20:,.0f}" for m in row.memory)
        mark = {True: "met", False: "missed", None: ""}[row.met]
        ratio = "does not count" if row.ratio is None else f"{row.ratio:.2f}"
        few = f" ({row.rounds} rounds)" if row.rounds is not None and row.rounds < ROUNDS else ""
        pair = (told(row.ours, row.unit), told(row.theirs, row.unit) + few)
        table.add_row(row.work, row.against, *pair, ratio, aim, mark, share, memory)
    Console(width=200).print(table)


def told(spread: tuple[float, float, float], unit: str) -> str:
    """Write the median, and the spread around it."""
    middle, low, high = (f"{v:.2f}" if unit == "s" else f"{v:,.0f}" for v in spread)
    return f"{middle} ({low} to {high}) {unit}"


def main() -> None:
    """Print the table, and file and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=filing.RESULTS, help="folder of the results")
    options = parser.parse_args()
    every, machines = rows(options.out)
    if not every:
        sys.exit(f"nothing is measured yet in {options.out}; make bench does")
    show(every)
    content = {"rows": [asdict(row) | {"met": row.met} for row in every], "measured_on": machines}
    filing.write("speed", content, options.out)
    aimed = [
        (f"{row.work} / {row.against}", row.ratio, row.target)
        for row in every
        if row.target is not None and row.ratio is not None
    ]
    if aimed:
        charts.ratios(aimed, options.out / "speed.svg")


if __name__ == "__main__":
    main()
