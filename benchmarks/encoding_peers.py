"""Encoding by what one would use instead: contestants of `encoding.py`.

All of them take texts and give one normalised vector for each, the mean of its tokens' states, and
so include the tokenizer. Where a library leaves batching to its user, texts are sorted by length,
as everyone's documentation advises, unless they come as they are; `batch` is what was fastest of 8,
16, 32 and 64 here. Threads and allocator are ours unless they come as they are (`turns.py`).

N texts, L pieces of the longest, W width.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnxruntime
import openvino
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from encoding_data import LENGTH, Work, job, start, work_of
from turns import Job

Fields = dict[str, np.ndarray]
States = Callable[[Fields], np.ndarray]
"""Runs a model on (N, L) ids and masks: -> (N, L, W) float32."""


def transformers(work: str, precision: str, batch: int, sort: bool) -> Job:
    """AutoModel in float32 or bfloat16."""
    model = AutoModel.from_pretrained(start(), dtype=getattr(torch, precision)).eval()

    @torch.inference_mode()
    def states(fields: Fields) -> np.ndarray:
        given = {name: torch.from_numpy(field) for name, field in fields.items()}
        found: np.ndarray = model(**given).last_hidden_state.float().numpy()
        return found

    return _job(work_of(work), states, batch, sort)


def sentence_transformers(work: str, precision: str, batch: int) -> Job:
    """`SentenceTransformer.encode`, which sorts by length itself."""
    kept = {"dtype": getattr(torch, precision)}
    model = SentenceTransformer(str(start()), device="cpu", model_kwargs=kept)
    model.max_seq_length = LENGTH

    def encode(texts: Sequence[str]) -> np.ndarray:
        found: np.ndarray = model.encode(
            list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )
        return found

    def read(texts: Sequence[str]) -> list[np.ndarray]:
        found = model.encode(
            list(texts),
            batch_size=batch,
            output_value="token_embeddings",
            show_progress_bar=False,
        )
        sizes = model.tokenizer(list(texts), truncation=True, max_length=LENGTH)["input_ids"]
        return [one.float().numpy()[: len(ids)] for one, ids in zip(found, sizes, strict=True)]

    return job(work_of(work), encode, read)


def onnx_runtime(work: str, model: str, batch: int, sort: bool, plain: bool = False) -> Job:
    """A session on a file that `encoding_export.py` made; plain: with no options at all."""
    options = onnxruntime.SessionOptions()
    if not plain:
        options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}

    def states(fields: Fields) -> np.ndarray:
        found: np.ndarray = session.run(None, {n: f for n, f in fields.items() if n in names})[0]
        return found

    return _job(work_of(work), states, batch, sort)


def open_vino(work: str, model: str, batch: int, sort: bool, precision: str | None = None) -> Job:
    """A compiled model, asked for one request at a time; without a precision, as it likes."""
    core = openvino.Core()
    settings: dict[str, object] = {}
    if precision is not None:
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    names = {name for one in compiled.inputs for name in one.names}

    def states(fields: Fields) -> np.ndarray:
        found: np.ndarray = compiled({n: f for n, f in fields.items() if n in names})[0]
        return found

    return _job(work_of(work), states, batch, sort)


def _job(work: Work, states: States, batch: int, sort: bool) -> Job:
    """Put the usual loop around a model: tokenise, sort, fill up, run, take means."""
    tokenizer = AutoTokenizer.from_pretrained(start())

    def batches(texts: Sequence[str]) -> Iterator[tuple[np.ndarray, Fields]]:
        order = np.argsort([-len(text) for text in texts]) if sort else np.arange(len(texts))
        for rows in np.split(order, range(batch, len(order), batch)):
            fields = tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=LENGTH,
                return_tensors="np",
            )
            yield rows, {name: field.astype(np.int64) for name, field in fields.items()}

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors: list[np.ndarray] = [np.empty(0)] * len(texts)
        for rows, fields in batches(texts):
            mask = fields["attention_mask"][..., None].astype(np.float32)  # (N, L, 1)
            summed = (states(fields) * mask).sum(1)  # (N, W)
            means = summed / np.linalg.norm(summed, axis=1, keepdims=True)
            for row, vector in zip(rows, means, strict=True):
                vectors[row] = vector
        return np.stack(vectors)

    def read(texts: Sequence[str]) -> list[np.ndarray]:
        found: list[np.ndarray] = [np.empty(0)] * len(texts)
        for rows, fields in batches(texts):
            sizes = fields["attention_mask"].sum(1)
            for row, one, size in zip(rows, states(fields), sizes, strict=True):
                found[row] = one[:size]
        return found

    return job(work, encode, read)
