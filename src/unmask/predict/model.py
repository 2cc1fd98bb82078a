"""A model as Python sees it: texts in; answers, fillings, hidden states and embeddings out.

W width.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, overload

import numpy as np
import torch
from torch import Tensor

from unmask import config, console, hardware
from unmask.contracts import Prediction, Task
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.exchange.card import alike
from unmask.exchange.huggingface import Pretrained
from unmask.exchange.warm_start import encoder_decoder
from unmask.hardware import Precision
from unmask.model.generation import Generation
from unmask.model.prepacked import prepacked
from unmask.predict.predictor import predictions
from unmask.predict.purpose import check_results, purpose
from unmask.predict.writing import writer
from unmask.tasks import fill
from unmask.tasks.embed import Embedding, Pooling
from unmask.tasks.fill import Blanks, MaskFilling
from unmask.tasks.regress import Measured
from unmask.text.tokenizer import Tokenizer

Filling = dict[str, Any]
"""One answer for a mask: `score`, `token`, `token_str`, and `sequence`, the text that it makes."""

Generated = dict[str, str]
"""A text that was written: `generated_text`."""

Answers = list[Filling] | list[list[Filling]]
"""The fillings of a text, best first: a list, or a list for each mask where there are several."""

FILLINGS = 5
"""Results of a text where nothing is said and there is not the one best."""


SHOWN = 60
"""Characters of labels, or of a text, that are shown."""


class Model:
    """A trained network with its tokenizer and what it was made for, in evaluation mode.

    In float32 the same text gives the same result, within rounding, whatever it is given with.
    Texts longer than the model are cut, which a warning reports.
    """

    def __init__(
        self, pretrained: Pretrained, name: str = "model", precision: Precision = "float32"
    ) -> None:
        if pretrained.tokenizer is None:
            raise UserError(
                f"{name}: it has no tokenizer; copy its tokenizer.json, or its vocabulary, there"
            )
        self.pretrained = pretrained
        self.network = pretrained.network
        self.tokenizer: Tokenizer = pretrained.tokenizer
        if self.tokenizer.vocab_size > pretrained.spec.pieces:
            raise UserError(
                f"{name}: the tokenizer has {self.tokenizer.vocab_size:,} entries, the model only"
                f" {pretrained.spec.pieces:,}; they do not belong together"
            )
        self.kind, self.purpose = purpose(pretrained, name)
        if precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise UserError(f"precision {precision!r} does not exist; there are {known}")
        self._products = hardware.products(precision, self._device)
        self._prepacked = prepacked(self.network, self._products)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        language: str | None = None,
        precision: Precision = "float32",
    ) -> "Model":
        """Read a model from a folder, or by its id from the hub, onto the CPU.

        language: of the texts, as `en`, for a model that tells several apart. precision: of the
        products, when it reads; bfloat16 is several times as fast where the processor has it, and
        "auto" takes it then; int8 is faster still for many texts, and rougher. On Linux
        `unmask.hardware.keep_memory()` before makes all of them faster. Raises UserError for a
        model that is not there, not supported or damaged, for a language it does not know, and for
        a precision that the hardware does not have.
        """
        found = huggingface.read(source, language=language)
        if found.untold:
            console.words().print(f"warning: {source} tells languages apart; say which: --language")
        return cls(found, str(source), precision)

    @classmethod
    def from_encoder_decoder(
        cls, encoder: str | Path, decoder: str | Path | None = None, seed: int = 0
    ) -> "Model":
        """Make an encoder-decoder of two BERTs of one vocabulary, or of one that is both.

        It cannot write yet: cross-attention is new, drawn at random, and has to be trained, with
        all else that standard error names. Raises UserError for two that do not go together.
        """
        read = huggingface.read(encoder)
        wrote = read if decoder is None else huggingface.read(decoder)
        made, drawn = encoder_decoder(read, wrote, torch.Generator().manual_seed(seed))
        _announce(drawn)
        return cls(made, f"{encoder} and {decoder or encoder}")

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `from_pretrained` and `transformers`' Auto classes open."""
        huggingface.write(self.pretrained, folder)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def width(self) -> int:
        """W, of the hidden states and embeddings; of an encoder-decoder those of the encoder."""
        spec = self.pretrained.spec
        return (spec.source or spec).width

    @property
    def longest(self) -> int:
        """The most tokens that the model reads, [CLS] and [SEP] included."""
        return self.pretrained.spec.longest

    @property
    def task(self) -> str:
        """What the model was made for, as the command line names it: `text-classification`."""
        return self.kind.name

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model tells apart; empty where it does not classify."""
        return self.purpose.labels

    def __repr__(self) -> str:
        spec, labels = self.pretrained.spec, ", ".join(self.labels)
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        if len(labels) > SHOWN:
            labels = f"{len(self.labels)} labels"
        return (
            f"Model({self.pretrained.family.name} for {self.task}{labels and f' ({labels})'}: "
            f"{spec.layers} layers of width {spec.width}, vocabulary {spec.pieces:,}, "
            f"{parameters:,} parameters)"
        )

    def predict(self, items: Iterable[Any], top_k: int | None = None) -> list[Any]:
        """Give for each item what the model was made for.

        An item is a text, a pair of texts as a tuple, or a mapping of columns; what a task reads
        is told in its own words where it is something else. Results have the keys of transformers'
        pipelines: the best one of an item or, with `top_k`, a list of so many; of tagging a list
        of the entities, of masks a list of fillings, of feature extraction a vector. Raises
        UserError for an item that the task cannot read.
        """
        if isinstance(items, str | tuple | Mapping):
            raise UserError(f"give a list, as in [{_short(items)}]")
        if top_k is not None:
            check_results(self.purpose, top_k)
        records = [self.kind.direct(item, f"item {n}") for n, item in enumerate(items, 1)]
        best = self.purpose.ranked and top_k is None
        found = self._predicted(self.purpose, records, top_k or (1 if best else FILLINGS))
        return [one.results[0] if best else one.results for one in found]

    @overload
    def fill(self, text: str, top_k: int = FILLINGS) -> Answers: ...
    @overload
    def fill(self, text: list[str], top_k: int = FILLINGS) -> list[Answers]: ...
    def fill(self, text: str | list[str], top_k: int = FILLINGS) -> Answers | list[Answers]:
        """Say what stands behind each `[MASK]` of a text, or of each of several texts.

        A filling has the keys of transformers' fill-mask pipeline. Raises UserError for a text
        without a mask or with masks too far apart to be read at once, and for a model that does
        not predict tokens.
        """
        check_results(self._filling(), top_k)
        if isinstance(text, str):
            records = [fill.TASK.direct(text, "")]
        else:
            records = [fill.TASK.direct(one, f"text {n}") for n, one in enumerate(text, 1)]
        answers = [one.results for one in self._predicted(self._filling(), records, top_k)]
        return answers[0] if isinstance(text, str) else answers

    def generate(
        self,
        texts: Sequence[str],
        *,
        truncate: bool = False,
        return_full_text: bool | None = None,
        **settings: Any,
    ) -> list[Generated] | list[list[Generated]]:
        """Write on behind each text; an encoder-decoder reads it, and writes one of its own.

        settings: those of `Generation`, which have the names that they have in transformers:
        `max_new_tokens`, `num_beams`, `do_sample` and others. What is found has the key of
        transformers' pipeline, `generated_text`: one for each text, the text itself before what is
        new unless `return_full_text` is false, or with `num_return_sequences` a list, the best one
        first. truncate: cut what is too long, the beginning of a prompt or the end of a source.
        Raises UserError for what is too long otherwise, for settings that contradict each other or
        would change nothing, and for a model that does not write.
        """
        chosen = config.load(Generation, [("generate", settings)])
        narrow = hardware.between(self._products, self._device)
        able = writer(self.pretrained, self.tokenizer, chosen, truncate, narrow)
        records = [record.texts[0] for record in _several(texts)]
        found = [
            [{"generated_text": text} for text in own]
            for own in able.texts(records, return_full_text)
        ]
        return found if chosen.num_return_sequences > 1 else [own[0] for own in found]

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Give the hidden states of each text: (tokens, W) float32, [CLS] and [SEP] included."""
        task = Embedding(reading=Reading(length=self.longest), pooling=None)
        return [one.answer for one in self._predicted(task, _several(texts))]

    def embed(
        self, texts: Sequence[str], pooling: Pooling = "mean", normalize: bool = False
    ) -> np.ndarray:
        """Give one vector for each text: (texts, W) float32.

        The mean or the maximum is that of the hidden states of all tokens, [CLS] and [SEP]
        included, as sentence-transformers takes it; "cls" is the state of [CLS]. Normalised,
        vectors have length 1.
        """
        if pooling not in (known := get_args(Pooling)):
            raise UserError(f"pooling {pooling!r} does not exist; there are {', '.join(known)}")
        reading = Reading(length=self.longest)
        task = Embedding(reading=reading, pooling=pooling, normalize=normalize)
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        for row, one in enumerate(self._predicted(task, _several(texts))):
            vectors[row] = one.answer
        return vectors

    def blanks(self, text: str) -> Blanks:
        """Lay out a text with masks. Raises UserError when none is there, or not all fit in."""
        record = fill.TASK.direct(text, "")
        ((window,),) = self._filling().windows([record], self.tokenizer)
        assert isinstance(window, Blanks), "made by the task"
        return window

    def _filling(self) -> MaskFilling:
        """Make the task of filling masks. Raises UserError where the model cannot."""
        if self.network.head.masked is None:
            raise UserError(
                f"the model has no head that predicts tokens, its head is {self.pretrained.head!r};"
                " take one made for masked language modelling"
            )
        return MaskFilling(reading=Reading(length=self.longest))

    def _predicted(self, task: Task, records: Sequence[Any], top_k: int = 1) -> list[Prediction]:
        """Predict for records; a warning reports those that were cut."""
        pairs = predictions(task, self._prepacked, self.tokenizer, records, self._products, top_k)
        found = [prediction for _, prediction in pairs]
        if cut := sum(one.cut for one in found):
            warnings.warn(
                f"{cut:,} of {len(found):,} texts are longer than the {task.reading.length:,}"
                " tokens that the model reads, and were cut",
                stacklevel=3,
            )
        return found


def _announce(drawn: Mapping[str, Tensor]) -> None:
    """Say which tensors are new, alike ones of several layers once."""
    size = sum(tensor.numel() for tensor in drawn.values())
    console.words().print(
        f"new, drawn at random, to be trained: {len(drawn)} tensors, {size:,} parameters:"
        f" {alike(drawn)}"
    )


def _several(texts: Sequence[str]) -> list[Measured]:
    """Refuse what is no list of texts: a single one would be taken for a list of its letters."""
    if isinstance(texts, str):
        raise UserError(f"give a list of texts, as in [{_short(texts)}]")
    for text in texts:
        if not isinstance(text, str):
            raise UserError(f"{text!r} is not a text")
    return [Measured(place=f"text {n}", texts=(text,)) for n, text in enumerate(texts, 1)]


def _short(value: Any) -> str:
    """Quote a value, or the beginning of a long text."""
    long = isinstance(value, str) and len(value) > SHOWN
    return repr(value[: SHOWN - 3] + "..." if long else value)
