"""Encoding texts with all-MiniLM-L6-v2, beside everyone: tokens a second, and latency.

Reviews (mean 190 pieces, at most 256) and sentences (mean 13); one text at a time of 16 and of 128
pieces. Every contestant takes texts and gives normalised vectors. Before it is timed, the hidden
states of each token of 48 texts are compared with those of transformers in float32 (cosine); and
with the sentences Spearman's correlation on STS-B's development set: who loses more than half a
point there is timed, but not counted.

    python benchmarks/encoding.py [--works reviews sentences 16 128] [--threads 2]

Written to benchmarks/results/encoding.json and encoding.svg.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import charts
import filing
from encoding_data import pairs, start
from encoding_export import export
from peak import PEAKS, beside_peaks
from turns import Answers, Contestant, take_turns

FILES = filing.WORK / "encoding"
WORKS = ("reviews", "sentences", "16", "128")
REFERENCE = "transformers float32"
LOSS = 0.005
"""Of the correlation, that disqualifies."""


def contestants(work: str) -> Iterator[Contestant]:
    """Name everyone who takes part in a work."""

    def one(name: str, job: str, as_it_comes: bool = False, **options: Any) -> Contestant:
        given = {"work": work, **options}
        return Contestant(name=name, job=job, options=given, as_it_comes=as_it_comes)

    few = 8 if work == "reviews" else 32
    onnx, vino = "encoding_peers:onnx_runtime", "encoding_peers:open_vino"
    plain, fused, int8 = (str(FILES / f"{name}.onnx") for name in ("plain", "fused", "int8"))
    for kind in ("float32", "bfloat16"):
        yield one(f"unmask {kind}", "encoding_ours:unmask", precision=kind)
        yield one(
            f"transformers {kind}",
            "encoding_peers:transformers",
            precision=kind,
            batch=few,
            sort=True,
        )
        yield one(
            f"sentence-transformers {kind}",
            "encoding_peers:sentence_transformers",
            precision=kind,
            batch=32,
        )
        yield one(f"openvino {kind}", vino, model=plain, precision=kind, batch=8, sort=True)
    yield one("onnxruntime float32", onnx, model=fused, batch=8, sort=True)
    yield one("onnxruntime int8", onnx, model=int8, batch=8, sort=True)
    yield one("openvino int8", vino, model=int8, precision="float32", batch=8, sort=True)
    came = {"batch": 32, "as_it_comes": True}
    yield one(
        "transformers, as it comes",
        "encoding_peers:transformers",
        precision="float32",
        sort=False,
        **came,
    )
    yield one(
        "sentence-transformers, as it comes",
        "encoding_peers:sentence_transformers",
        precision="float32",
        **came,
    )
    yield one("onnxruntime, as it comes", onnx, model=plain, sort=False, plain=True, **came)
    yield one("openvino, as it comes", vino, model=plain, sort=False, **came)
    yield from PEAKS


def compared(found: Mapping[str, Answers]) -> dict[str, dict[str, float]]:
    """Give the least cosine of all tokens' states to the reference's, and the correlation."""
    right = found[REFERENCE]["states"]
    told: dict[str, dict[str, float]] = {}
    for name, answers in found.items():
        states = answers["states"]
        assert states.shape == right.shape, f"{name}: {states.shape}, not {right.shape}"
        norms = np.linalg.norm(states, axis=1) * np.linalg.norm(right, axis=1)
        told[name] = {"worst_cosine": float(((states * right).sum(1) / norms).min())}
        if "vectors" in answers:
            firsts, seconds = np.split(answers["vectors"], 2)
            alike = (firsts * seconds).sum(1)
            told[name]["spearman"] = float(spearmanr(alike, pairs()[2]).statistic)
    return told


def measure(work: str, rounds: int, threads: int) -> dict[str, Any]:
    """Let everyone take turns at a work."""
    told: dict[str, dict[str, float]] = {}
    found = take_turns(
        list(contestants(work)), rounds, threads, lambda answers: told.update(compared(answers))
    )
    content = beside_peaks(found)
    best = told[REFERENCE].get("spearman", 0.0)
    for name, one in content["contestants"].items():
        one |= told[name]
        if "spearman" in one:
            one["counts"] = one["spearman"] > best - LOSS
        if one["repeats"] > 1:
            one["milliseconds"] = [1e3 * seconds / one["repeats"] for seconds in one["seconds"]]
    return content


def show(work: str, content: Mapping[str, Any]) -> None:
    """Print a line for each contestant."""
    for name, one in content["contestants"].items():
        latency = ""
        if "milliseconds" in one:
            low, middle, high = np.percentile(one["milliseconds"], [0, 50, 100])
            latency = f"  {middle:.2f} ms ({low:.2f} to {high:.2f})"
        judged = f"  STS-B {one['spearman']:.4f}" if "spearman" in one else ""
        print(
            f"{work:10} {name:35} {one['tokens_per_second']:9,.0f} tokens/s{latency}"
            f"  {one['memory'] / 2**20:6,.0f} MiB  cosine {one['worst_cosine']:.5f}{judged}"
            f"  {one['share_of_peak']:.0%} of the bfloat16 peak"
            + ("" if one.get("counts", True) else "  not counted"),
            flush=True,
        )


def main() -> None:
    """Run the works that were asked for; others stay filed as they were."""
    parser = filing.options(__doc__)
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    options = parser.parse_args()
    assert start().exists()
    export(FILES)
    content = filing.read("encoding", options.out) or {}
    for work in options.works:
        content[work] = measure(work, options.rounds, options.threads)
        show(work, content[work])
        filing.write("encoding", content, options.out)
    charts.bars(
        {
            work: {
                name: (one["tokens_per_second"], *one["spread"])
                for name, one in content[work]["contestants"].items()
            }
            for work in WORKS
            if work in content
        },
        "real tokens a second",
        options.out / "encoding.svg",
    )


if __name__ == "__main__":
    main()
