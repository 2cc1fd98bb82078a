"""Encoding by ONNX Runtime: a contestant of `encoding.py`."""

import numpy as np
import onnxruntime

from encoding_data import FILES, work_of
from encoding_loop import Fields, looped, tokeniser
from job import Job, threads


def encoder(
    work: str,
    model: str,
    texts: int = 32,
    tokens: int = 0,
    sort: bool = True,
    as_it_comes: bool = False,
) -> Job:
    """A session on a file that `encoding_export.py` made; it takes the means itself."""
    options = onnxruntime.SessionOptions()
    if not as_it_comes:
        options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession(
        str(FILES / "models" / model), options, providers=["CPUExecutionProvider"]
    )
    names = {one.name for one in session.get_inputs()}

    def run(output: str, fields: Fields) -> np.ndarray:
        given = {name: field for name, field in fields.items() if name in names}
        found: np.ndarray = session.run([output], given)[0]
        return found

    return looped(
        work_of(work),
        tokeniser(),
        lambda laid: (run("vectors", fields) for fields in laid),
        lambda fields: run("states", fields),
        texts,
        tokens,
        sort,
    )
