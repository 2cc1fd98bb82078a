"""Encoding by OpenVINO: a contestant of `encoding.py`."""

from collections.abc import Iterable
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

    streams: requests that run side by side, for throughput; one alone is for latency.
    """
    compiled = _compiled(model, precision, streams)
    names = {name for one in compiled.inputs for name in one.names}
    queue = openvino.AsyncInferQueue(compiled, streams)

    def chosen(fields: Fields) -> Fields:
        return {name: field for name, field in fields.items() if name in names}

    def vectors(laid: Iterable[Fields]) -> Iterable[np.ndarray]:
        if streams == 1:
            return (compiled(chosen(fields))["vectors"] for fields in laid)
        found: dict[int, np.ndarray] = {}

        def keep(request: Any, number: int) -> None:
            found[number] = request.get_tensor("vectors").data.copy()

        queue.set_callback(keep)
        for number, fields in enumerate(laid):
            queue.start_async(chosen(fields), number)
        queue.wait_all()
        return [found[number] for number in range(len(found))]

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
