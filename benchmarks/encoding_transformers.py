"""Encoding by `AutoModel` of transformers: a contestant of `encoding.py`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer

from encoding_data import LENGTH, start, work_of
from encoding_loop import Fields, looped
from job import Job


def encoder(work: str, precision: str, texts: int = 32, tokens: int = 0, sort: bool = True) -> Job:
    """In float32 or bfloat16; means are taken as its documentation shows."""
    model = AutoModel.from_pretrained(start(), dtype=getattr(torch, precision)).eval()
    tokenizer = AutoTokenizer.from_pretrained(start())

    def ids_of(given: Sequence[str]) -> list[list[int]]:
        found: Any = tokenizer(list(given), truncation=True, max_length=LENGTH)["input_ids"]
        ids: list[list[int]] = found
        return ids

    @torch.inference_mode()
    def hidden(fields: Fields) -> tuple[Tensor, Tensor]:
        """Give the states (N, L, W), and the mask (N, L, 1)."""
        given = {name: torch.from_numpy(field) for name, field in fields.items()}
        return model(**given).last_hidden_state.float(), given["attention_mask"][..., None]

    def vectors(fields: Fields) -> np.ndarray:
        states, mask = hidden(fields)
        found: np.ndarray = normalize((states * mask).sum(1), dim=1).numpy()
        return found

    def states(fields: Fields) -> np.ndarray:
        found: np.ndarray = hidden(fields)[0].numpy()
        return found

    every = work_of(work)
    return looped(every, ids_of, lambda laid: map(vectors, laid), states, texts, tokens, sort)
