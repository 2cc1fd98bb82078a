"""A model as Python sees it: texts in; fillings, hidden states and embeddings out.

T tokens of a batch laid end to end, W width, V entries of the vocabulary, M masks.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.huggingface import Pretrained
from unmask.text.tokenizer import Tokenizer
from unmask.tokens import Layout, Tokens

Filling = dict[str, Any]
"""One answer for a mask: `score`, `token`, `token_str`, and `sequence`, the text that it makes."""

Answers = list[Filling] | list[list[Filling]]
"""The fillings of a text, best first: a list, or a list for each mask where there are several."""

Ranks = tuple[list[float], list[int]]
"""Scores and tokens for one mask, best first."""

BATCH_TOKENS = 2048
"""Tokens that are read at once: few enough for the caches of a CPU."""

BATCH_MASKS = 256
"""Masks whose (M, V) scores are held at once."""


@dataclass(frozen=True, slots=True)
class Blanks:
    """A text with masks as the model reads it."""

    ids: list[int]
    """With [CLS] and [SEP]."""
    masks: list[int]
    """Where the masks stand among the ids."""
    cut: bool
    """Whether the text was longer than the model reads: only the part around the masks is left."""


class Model:
    """A pre-trained network with its tokenizer, in evaluation mode.

    The same text gives the same result, within the rounding of float32, whatever it is given with.
    Texts longer than the model are cut, which a warning reports.
    """

    def __init__(self, pretrained: Pretrained, name: str = "model") -> None:
        if pretrained.tokenizer is None:
            raise UserError(
                f"{name}: it has no tokenizer; copy its tokenizer.json or vocab.txt there"
            )
        self.pretrained = pretrained
        self.network = pretrained.network
        self.tokenizer: Tokenizer = pretrained.tokenizer
        if self.tokenizer.vocab_size > pretrained.spec.pieces:
            raise UserError(
                f"{name}: the tokenizer has {self.tokenizer.vocab_size:,} entries, the model only"
                f" {pretrained.spec.pieces:,}; they do not belong together"
            )

    @classmethod
    def from_pretrained(cls, source: str | Path) -> "Model":
        """Read a model from a folder, or by its id from the hub, in float32 on the CPU.

        Raises UserError for a model that is not there, not supported or damaged.
        """
        return cls(huggingface.read(source), str(source))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `from_pretrained` and `transformers`' Auto classes open."""
        huggingface.write(self.pretrained, folder)

    @property
    def width(self) -> int:
        """W, of the hidden states and embeddings."""
        return self.pretrained.spec.width

    @property
    def longest(self) -> int:
        """The most tokens that the model reads, [CLS] and [SEP] included."""
        return self.pretrained.spec.positions

    def __repr__(self) -> str:
        spec = self.pretrained.spec
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        return (
            f"Model({self.pretrained.family.name}, {spec.layers} layers of width {spec.width}, "
            f"vocabulary {spec.pieces:,}, {parameters:,} parameters, head {self.pretrained.head})"
        )

    @overload
    def fill(self, text: str, top_k: int = 5) -> Answers: ...
    @overload
    def fill(self, text: list[str], top_k: int = 5) -> list[Answers]: ...
    def fill(self, text: str | list[str], top_k: int = 5) -> Answers | list[Answers]:
        """Say what stands behind each `[MASK]` of a text, or of each of several texts.

        A filling has the keys of transformers' fill-mask pipeline. Raises UserError for a text
        without a mask or with masks too far apart to be read at once, and for a model that does
        not predict tokens.
        """
        blanks = [self.blanks(one) for one in ([text] if isinstance(text, str) else text)]
        self._report([one.cut for one in blanks])
        answers = self.answers(blanks, top_k)
        return answers[0] if isinstance(text, str) else answers

    def predict(self, texts: Sequence[str], top_k: int = 5) -> list[Answers]:
        """Give for each text what the model was made for: the fillings of its masks."""
        return self.fill(list(_several(texts)), top_k)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Give the hidden states of each text: (tokens, W) float32, [CLS] and [SEP] included."""
        states: list[np.ndarray] = [np.empty(0)] * len(texts)
        for row, part in self._states(texts):
            states[row] = part.numpy(force=True).copy()  # not a view of the whole batch
        return states

    def embed(
        self,
        texts: Sequence[str],
        pooling: Literal["mean", "cls", "max"] = "mean",
        normalize: bool = False,
    ) -> np.ndarray:
        """Give one vector for each text: (texts, W) float32.

        The mean or the maximum is that of the hidden states of all tokens, [CLS] and [SEP]
        included, as sentence-transformers takes it; "cls" is the state of [CLS]. Normalised,
        vectors have length 1.
        """
        if pooling not in _POOLINGS:
            raise UserError(f"pooling {pooling!r} does not exist; there are {', '.join(_POOLINGS)}")
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        for row, part in self._states(texts):
            vector = _POOLINGS[pooling](part)  # (W,)
            vectors[row] = (F.normalize(vector, dim=0) if normalize else vector).numpy(force=True)
        return vectors

    def blanks(self, text: str) -> Blanks:
        """Lay out a text with masks. Raises UserError when none is there, or not all fit in."""
        if not isinstance(text, str):
            raise UserError(f"{text!r} is not a text")
        if self.network.head.masked is None:
            raise UserError(
                f"the model has no head that predicts tokens, its head is {self.pretrained.head!r};"
                " take one made for masked language modelling"
            )
        ids = self.tokenizer.encode(text, masks=True).ids
        masks = [i for i, token in enumerate(ids) if token == self.tokenizer.mask]
        if not masks:
            raise UserError(f"no [MASK] in {_short(text)}; put one where a word is to be found")
        room = self.longest - 2
        span = masks[-1] + 1 - masks[0]
        if span > room:
            raise UserError(
                f"the masks of {_short(text)} stand {span:,} tokens apart, but the model reads"
                f" {self.longest:,}; divide the text"
            )
        start = min(max(0, masks[0] - (room - span) // 2), max(0, len(ids) - room))
        laid, _ = self.tokenizer.template(ids[start : start + room])
        return Blanks(laid, [i - start + 1 for i in masks], len(ids) > room)

    def answers(self, texts: Sequence[Blanks], top_k: int = 5) -> list[Answers]:
        """Fill what `blanks` laid out, in order."""
        if top_k < 1:
            raise UserError(f"top_k is {top_k}; ask for at least one filling")
        answers: list[Answers] = [[]] * len(texts)
        for rows, layout, states in self._read([text.ids for text in texts]):
            starts = zip(rows, layout.first.tolist(), strict=True)
            masks = [start + mask for row, start in starts for mask in texts[row].masks]
            ranked = self._ranked(states, masks, top_k)
            for row in rows:
                answers[row] = self._answer(texts[row], ranked)
        return answers

    @torch.inference_mode()
    def _ranked(self, states: Tensor, masks: list[int], top_k: int) -> Iterator[Ranks]:
        """Rank the tokens for each mask of a batch of states (T, W)."""
        masked, entries = self.network.head.masked, self.tokenizer.vocab_size
        assert masked is not None, "`blanks` has checked the head"
        for at in range(0, len(masks), BATCH_MASKS):
            scores = masked(states[masks[at : at + BATCH_MASKS]]).softmax(-1)  # (M, V)
            best = scores[:, :entries].topk(min(top_k, entries))
            yield from zip(best.values.tolist(), best.indices.tolist(), strict=True)

    def _answer(self, text: Blanks, ranked: Iterator[Ranks]) -> Answers:
        """Write the fillings of a text; several masks leave special tokens in the sequence."""
        alone = len(text.masks) == 1
        left_out = set(self.tokenizer.special.tolist()) if alone else set()

        def filling(mask: int, score: float, token: int) -> Filling:
            ids = [*text.ids[:mask], token, *text.ids[mask + 1 :]]
            return {
                "score": score,
                "token": token,
                "token_str": self.tokenizer.decode([token]),
                "sequence": self.tokenizer.decode([i for i in ids if i not in left_out]),
            }

        answers = [
            [filling(mask, *pair) for pair in zip(*next(ranked), strict=True)]
            for mask in text.masks
        ]
        return answers[0] if alone else answers

    def _states(self, texts: Sequence[str]) -> Iterator[tuple[int, Tensor]]:
        """Read texts, in any order: the row and the states (tokens, W) of each."""
        encoded = self.tokenizer.encode_batch(_several(texts))
        room = self.longest - 2
        self._report([len(ids) > room for ids in encoded])
        laid = [self.tokenizer.template(ids[:room])[0] for ids in encoded]
        for rows, layout, states in self._read(laid):
            yield from zip(rows, states.split(layout.lengths), strict=True)  # type: ignore[no-untyped-call]

    def _report(self, cut: list[bool]) -> None:
        if any(cut):
            warnings.warn(
                f"{sum(cut):,} of {len(cut):,} texts are longer than the {self.longest:,} tokens"
                " that the model reads, and were cut",
                stacklevel=3,
            )

    @torch.inference_mode()
    def _read(self, sequences: Sequence[list[int]]) -> Iterator[tuple[list[int], Layout, Tensor]]:
        """Run the encoder in batches of like lengths: rows, their layout, their states (T, W)."""
        assert not self.network.training, "a model predicts in evaluation mode"
        device = next(self.network.parameters()).device
        for rows in _batches([len(ids) for ids in sequences]):
            ids = torch.tensor([token for row in rows for token in sequences[row]])  # (T,)
            layout = Layout.of([len(sequences[row]) for row in rows])
            yield rows, layout, self.network(Tokens(ids, layout).to(device))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Divide rows into batches of at most BATCH_TOKENS, the longest first, so that memory shows."""
    batch: list[int] = []
    tokens = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and tokens + lengths[row] > BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    if batch:
        yield batch


_POOLINGS: Mapping[str, Any] = {
    "mean": lambda states: states.mean(0),
    "cls": lambda states: states[0],
    "max": lambda states: states.amax(0),
}
"""(tokens, W) -> (W,)."""


def _several(texts: Sequence[str]) -> Sequence[str]:
    """Refuse what is no list of texts: a single one would be taken for a list of its letters."""
    if isinstance(texts, str):
        raise UserError(f"give a list of texts, as in [{_short(texts)}]")
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"{text!r} is not a text")
    return texts


def _short(text: str) -> str:
    """Quote a text, or the beginning of a long one."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
