"""Encoding texts with all-MiniLM-L6-v2, beside everyone: tokens a second, and latency.

    python benchmarks/encoding.py [--works reviews sentences 16 128] [--threads 2]

Reviews (mean 207 pieces, at most 256) and sentences (mean 15); one text at a time of about 16 and
of 128 pieces. Every contestant takes texts and gives normalised vectors, the means of its tokens'
states, and so includes the tokenizer. Peers sort texts by length, and choose their batches in a
trial of each work: 8 to 128 texts, or texts of about 2,048 tokens; OpenVINO its file and its
streams besides. What they chose is filed. Everyone takes part once more as it comes: batches of 32,
float32 (OpenVINO takes bfloat16 of itself), its own threads and allocator.

Before it is timed, the vectors of all texts, and the states of each token of 48 of them, are
compared by cosine with those of transformers in float32; and with the sentences Spearman's
correlation on STS-B's development set. Who is outside of `LIMITS`, or loses more than half a point
there, is timed, but does not count.

Written to benchmarks/results/encoding.json and encoding.svg.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import charts
import filing
from encoding_data import pairs
from encoding_texts import write_texts
from job import Answers
from peak import PEAKS, beside_peaks
from turns import Contestant, Turns, finish, take_turns

WORKS = ("reviews", "sentences", "16", "128")
REFERENCE = "transformers float32"
LIMITS = {"float32": 0.9999, "bfloat16": 0.99, "unmask bfloat16": 0.999}
"""Least cosine to the reference, by precision or by name; int8 is judged by its correlation."""
LOSS = 0.005
"""Of the correlation, that disqualifies."""
SIZES = [{"texts": size} for size in (8, 16, 32, 64, 128)]
CUTS = [*SIZES, {"tokens": 2048}]


def contestants(work: str) -> Iterator[Contestant]:
    """Name everyone who takes part in a work."""
    many = not work.isdigit()

    def one(name: str, peer: str, axes: Sequence[Any] = (), **options: Any) -> Contestant:
        given = {"work": work, **options}
        return Contestant(name=name, job=f"encoding_{peer}:encoder", options=given, axes=axes)

    def came(peer: str, **options: Any) -> Contestant:
        module = peer.removesuffix("-transformers") if peer.startswith("s") else peer
        return Contestant(
            name=f"{peer}, as it comes",
            job=f"encoding_{module}:encoder",
            options={"work": work, **options},
            as_it_comes=True,
        )

    cuts, sizes = ([CUTS], [SIZES]) if many else ([], [])
    forms = [*cuts, [{}, {"model": "fused.onnx"}]]
    streams = [[{}, {"streams": 2}]] if many else []
    for kind in ("float32", "bfloat16"):
        yield one(f"unmask {kind}", "ours", precision=kind)
        yield one(f"transformers {kind}", "transformers", cuts, precision=kind)
        yield one(f"sentence-transformers {kind}", "sentence", sizes, precision=kind)
        options = {"model": "plain.onnx", "precision": kind}
        yield one(f"openvino {kind}", "openvino", [*forms, *streams], **options)
    yield one("unmask int8", "ours", precision="int8")
    yield one("onnxruntime float32", "onnxruntime", cuts, model="fused.onnx")
    yield one("onnxruntime int8", "onnxruntime", cuts, model="int8.onnx")
    others = [[{"precision": kind} for kind in ("bfloat16", "float32")]]
    yield one("openvino int8", "openvino", [*others, *cuts, *streams], model="int8.xml")
    yield came("transformers", precision="float32", sort=False)
    yield came("sentence-transformers", precision="float32")
    yield came("onnxruntime", model="plain.onnx", sort=False, as_it_comes=True)
    yield came("openvino", model="plain.onnx", sort=False)
    yield from PEAKS


def limit(name: str) -> float:
    """Give the least cosine that a contestant's answers must have."""
    if name in LIMITS:
        return LIMITS[name]
    if "int8" in name:
        return -1.0
    narrow = "bfloat16" in name or name == "openvino, as it comes"
    return LIMITS["bfloat16" if narrow else "float32"]


def cosine(found: np.ndarray, right: np.ndarray) -> float:
    """Give the least cosine of rows: (N, W) both; -1 where one is not a number."""
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.nan_to_num((found * right).sum(1) / norms, nan=-1.0).min())


def judged(name: str, answers: Answers, right: Answers) -> dict[str, Any]:
    """Tell how near a contestant's answers are to the reference's, and whether it counts."""
    told: dict[str, Any] = {
        "worst_cosine": cosine(answers["states"], right["states"]),
        "worst_vector": cosine(answers["vectors"], right["vectors"]),
    }
    outside = [f"{key} < {limit(name)}" for key in told if told[key] < limit(name)]
    if "judged" in answers:
        told["spearman"], best = correlation(answers["judged"]), correlation(right["judged"])
        if told["spearman"] < best - LOSS:
            outside.append(f"Spearman's correlation < {best - LOSS:.4f}")
    return told | {"counts": not outside, "outside": outside}


def correlation(vectors: np.ndarray) -> float:
    """Give Spearman's correlation of cosines with how alike people found the pairs."""
    firsts, seconds = np.split(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 2)
    return float(spearmanr((firsts * seconds).sum(1), pairs()[2]).statistic)


class Measured:
    """A work that is measured: what the answers were judged to be, and what is filed of it."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, Any]] = {}

    def compare(self, found: Mapping[str, Answers]) -> dict[str, str]:
        """Judge everyone; who gives something of another shape is left out."""
        right, wrong = found.get(REFERENCE), {}
        for name, answers in found.items():
            if right is None:
                wrong[name] = f"nothing to compare with: {REFERENCE} failed"
            elif shapes(answers) != shapes(right):
                wrong[name] = f"gives {shapes(answers)}, not {shapes(right)}"
            else:
                self.told[name] = judged(name, answers, right)
        return wrong

    def content(self, turns: Turns) -> dict[str, Any]:
        """Put together what is filed."""
        content = beside_peaks(turns)
        for name, one in content["contestants"].items():
            one |= self.told[name]
            if one["repeats"] > 1:
                one["milliseconds"] = [1e3 * seconds / one["repeats"] for seconds in one["seconds"]]
        return content | {"machine": filing.machine()}


def shapes(answers: Answers) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in answers.items()}


def show(work: str, content: Mapping[str, Any]) -> None:
    """Print a line for each contestant."""
    for name, one in content["contestants"].items():
        latency = ""
        if "milliseconds" in one:
            low, middle, high = np.percentile(one["milliseconds"], [0, 50, 100])
            latency = f"  {middle:.2f} ms ({low:.2f} to {high:.2f})"
        score = f"  STS-B {one['spearman']:.4f}" if "spearman" in one else ""
        chosen = "".join(f", {key} {value}" for key, value in one.get("chosen", {}).items())
        print(
            f"{work:10} {name + chosen:50} {one['tokens_per_second']:9,.0f} tokens/s{latency}"
            f"  {one['memory'] / 2**20:6,.0f} MiB  cosine {one['worst_cosine']:.5f}"
            f" (vectors {one['worst_vector']:.5f}){score}"
            + ("" if one["counts"] else f"  does not count: {'; '.join(one['outside'])}"),
            flush=True,
        )


def draw(content: Mapping[str, Any], options: Any) -> None:
    """Draw all works that are filed."""
    groups = {
        f"one text of {work} tokens" if work.isdigit() else work: {
            name + ("" if one["counts"] else " (does not count)"): (
                one["tokens_per_second"],
                *one["spread"],
            )
            for name, one in content[work]["contestants"].items()
        }
        for work in WORKS
        if content.get(work, {}).get("contestants")
    }
    if groups:
        charts.bars(groups, "real tokens a second", options.out / "encoding.svg")


def main() -> None:
    """Run the works that were asked for; others stay filed as they were."""
    parser = filing.options(__doc__)
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    options = parser.parse_args()
    write_texts()
    exporting = filing.ROOT / "benchmarks" / "encoding_export.py"
    # In a process of its own, so that its memory is gone behind it.
    exported = subprocess.run([sys.executable, str(exporting)])
    content = filing.read("encoding", options.out) or {}
    failed = {"export": "see above"} if exported.returncode else {}
    for work in options.works:
        measured = Measured()

        def file(turns: Turns, work: str = work, measured: Measured = measured) -> None:
            content[work] = measured.content(turns)
            filing.write("encoding", content, options.out)

        every = list(contestants(work))
        turns = take_turns(every, options.rounds, options.threads, measured.compare, file)
        file(turns)
        show(work, content[work])
        failed |= {f"{work}: {name}": error for name, error in turns.failed.items()}
    draw(content, options)
    finish(failed)


if __name__ == "__main__":
    main()
