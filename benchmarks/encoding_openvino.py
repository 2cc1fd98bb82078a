"""Encoding by OpenVINO: a contestant of `encoding.py`."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino

from encoding_data import FILES, work_of
from encoding_loop import Fields, looped, tokeniser
from job import Job, threads

HINTS = {"float32": "f32", "bfloat16": "bf16"}


def encoder(
    work: str,
    model: str,
    precision: str | None = None,
    texts: int = 32,
    tokens: int = 0,
    sort: bool = True,
    streams: int = 1,
) -> Job:
    """A compiled model, which takes the means itself; without a precision, as it likes.

    streams: requests that run side by side, for throughput; one alone is for latency. They run in
    threads: OpenVINO's own queue of requests waited for itself without an end, once with int8.
    """
    compiled = _compiled(model, precision, streams)
    names = {name for one in compiled.inputs for name in one.names}
    requests = SimpleQueue[Any]()
    for _ in range(streams):
        requests.put(compiled.create_infer_request())
    side_by_side = ThreadPoolExecutor(streams)

    def chosen(fields: Fields) -> Fields:
        return {name: field for name, field in fields.items() if name in names}

    def run(fields: Fields) -> np.ndarray:
        request = requests.get()
        found: np.ndarray = request.infer(chosen(fields))["vectors"].copy()
        requests.put(request)
        return found

    def vectors(laid: Iterable[Fields]) -> Iterable[np.ndarray]:
        return map(run, laid) if streams == 1 else side_by_side.map(run, laid)

    def states(fields: Fields) -> np.ndarray:
        found: np.ndarray = compiled(chosen(fields))["states"]
        return found

    return looped(work_of(work), tokeniser(), vectors, states, texts, tokens, sort)


def _compiled(model: str, precision: str | None, streams: int) -> Any:
    """Compile a file; RuntimeError says why it could not be made."""
    path = FILES / "models" / model
    if (reason := path.with_suffix(".failed")).exists():
        raise RuntimeError(reason.read_text(encoding="utf-8"))
    settings: dict[str, object] = {}
    if precision is not None:
        settings = {
            "INFERENCE_NUM_THREADS": threads(),
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": streams,
        }
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", settings)
