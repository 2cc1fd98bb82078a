"""One table of how fast everything is beside what one would use instead, from what is filed.

    python benchmarks/report.py

Reads what the other benchmarks wrote to benchmarks/results, and prints a row for each work and each
peer: how many times as fast ours is (real tokens a second, or time), what it should be, the share
of the bfloat16 peak that ours reaches, and the peak memory of both. What was not measured is left
out. Written to benchmarks/results: speed.json and speed.svg.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import charts
import filing

Contestants = Mapping[str, Mapping[str, Any]]
FAITHFUL = 0.999
"""Least cosine of a token's state to float32, of those who count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Ours beside one peer, at one work."""

    work: str
    against: str
    ratio: float
    """How many times as fast ours is."""
    target: float | None = None
    share: float | None = None
    """Of the bfloat16 peak, ours."""
    share_target: float | None = None
    memory: tuple[int, int] | None = None
    """Peak bytes of ours, and of the peer."""

    @property
    def met(self) -> bool | None:
        """Whether all targets are met; None where there is none."""
        aims = [(self.ratio, self.target), (self.share, self.share_target)]
        judged = [is_ >= aim for is_, aim in aims if is_ is not None and aim is not None]
        return all(judged) if judged else None


def beside(
    work: str,
    against: str,
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    target: float | None = None,
    share_target: float | None = None,
) -> Row:
    """Compare two that are filed with tokens a second."""
    return Row(
        work=work,
        against=against,
        ratio=ours["tokens_per_second"] / theirs["tokens_per_second"],
        target=target,
        share=ours.get("share_of_peak"),
        share_target=share_target,
        memory=(ours["memory"], theirs["memory"]),
    )


def of_training(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the pre-training steps."""
    targets = {
        "bert-base": {"transformers float32": 4.5, "transformers bfloat16": 1.6},
        "bert-mini": {"transformers float32": 6.0, "transformers bfloat16": 3.0},
    }
    shares = {"bert-base": 0.65}
    for recipe, aims in targets.items():
        if recipe not in found:
            continue
        contestants: Contestants = found[recipe]["contestants"]
        for name, one in contestants.items():
            if not name.startswith("unmask"):
                share = shares.get(recipe) if name in aims else None
                work, ours = f"pre-training, {recipe}", contestants["unmask"]
                yield beside(work, name, ours, one, aims.get(name), share)


def of_finetuning(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the fine-tuning steps on questions."""
    faster = found["works"].get("squad", {}).get("faster_than", {})
    for kind, told, target in (
        ("float32", "its default padding, float32", 8.0),
        ("grouped", "bfloat16, grouped by length", 1.5),
    ):
        if (ratio := faster.get(f"transformers-{kind}")) is not None:
            yield Row(
                work="fine-tuning, SQuAD of 384",
                against=f"transformers, {told}",
                ratio=ratio,
                target=target,
            )


def of_encoding(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare the encoders: each peer at its best of float32 and bfloat16, then with int8."""
    for work in ("reviews", "sentences", "16", "128"):
        if work not in found:
            continue
        contestants: Contestants = found[work]["contestants"]
        single = work.isdigit()
        name = f"one text of {work}" if single else f"encoding {work}"
        ours = fastest(contestants, "unmask", faithful=True)
        for peer, target in (
            ("transformers", 1.0 if single else 1.4),
            ("sentence-transformers", 1.0 if single else 1.4),
            ("onnxruntime", None if single else 1.4),
            ("openvino", None if single else 1.0),
        ):
            exact = {n: o for n, o in contestants.items() if "int8" not in n and "comes" not in n}
            yield beside(name, f"{peer}, its best", ours, fastest(exact, peer), target)
            came = contestants[f"{peer}, as it comes"]
            yield beside(name, f"{peer}, as it comes", ours, came)
        judged = found.get("sentences", found[work])["contestants"]
        int8 = [n for n in contestants if "int8" in n and judged[n].get("counts", False)]
        if int8:
            best = max(int8, key=lambda n: contestants[n]["tokens_per_second"])
            target = None if single else 1.0
            yield beside(name, f"{best}, the fastest", ours, contestants[best], target)


def fastest(contestants: Contestants, name: str, faithful: bool = False) -> Mapping[str, Any]:
    """Find the fastest form of a library; faithful: among those near enough to float32."""
    forms = [one for full, one in contestants.items() if full.split()[0].rstrip(",") == name]
    fitting = [one for one in forms if not faithful or one["worst_cosine"] >= FAITHFUL]
    return max(fitting, key=lambda one: one["tokens_per_second"])


def of_stream(found: Mapping[str, Any]) -> Iterator[Row]:
    """Compare making batches."""
    contestants: Contestants = found["contestants"]
    theirs = fastest(contestants, "transformers'")
    ours = contestants["pairs of 128"]
    yield beside("masked, packed NSP batches", "transformers' collator", ours, theirs, 2.0)


def of_times(found: Mapping[str, Any], work: str, peer: str) -> Iterator[Row]:
    """Compare two that are filed with seconds, ours first."""
    ours, theirs = found["contestants"].values()
    yield Row(
        work=work,
        against=peer,
        ratio=theirs["median"] / ours["median"],
        target=1.0,
        memory=(ours["memory"], theirs["memory"]),
    )


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


def rows(folder: Path) -> list[Row]:
    """Make a row of everything that is filed."""
    found: list[Row] = []
    for name, make in {
        "training": of_training,
        "finetuning": of_finetuning,
        "encoding": of_encoding,
        "stream": of_stream,
        "prepare": lambda content: of_times(content, "unmask prepare", "datasets.map"),
        "cold": lambda content: of_times(content, "first answer", "transformers' pipeline"),
        "gpu": of_gpu,
    }.items():
        content = filing.read(name, folder)
        if content is not None:
            found += make(content)
    return found


def show(every: list[Row]) -> None:
    """Print the table."""
    table = Table("work", "against", "ratio", "target", "", "of the peak", "memory, MiB", box=None)
    for row in every:
        aim = "" if row.target is None else f">= {row.target:g}"
        share = "" if row.share is None else f"{row.share:.0%}"
        share += "" if row.share_target is None else f" (>= {row.share_target:.0%})"
        memory = "" if row.memory is None else " / ".join(f"{m / 2**20:,.0f}" for m in row.memory)
        mark = {True: "met", False: "missed", None: ""}[row.met]
        table.add_row(row.work, row.against, f"{row.ratio:.2f}", aim, mark, share, memory)
    Console(width=150).print(table)


def main() -> None:
    """Print the table, and file and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=filing.RESULTS, help="folder of the results")
    options = parser.parse_args()
    every = rows(options.out)
    if not every:
        sys.exit(f"nothing is measured yet in {options.out}; make bench does")
    show(every)
    content = {"rows": [asdict(row) | {"met": row.met} for row in every]}
    filing.write("speed", content, options.out)
    charts.ratios(
        [(f"{r.work} / {r.against}", r.ratio, r.target) for r in every if r.target is not None],
        options.out / "speed.svg",
    )


if __name__ == "__main__":
    main()
