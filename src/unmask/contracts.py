"""Every protocol between the folders, on one page.

T tokens of a batch, B sequences, M predicted tokens, K labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from unmask.data.masking import Masking
from unmask.data.packing import Packed
from unmask.data.windows import Reading, Window
from unmask.model.cross_entropy import Part
from unmask.model.heads import Brick, Head
from unmask.model.names import Form, Names, no_forms, numbered
from unmask.model.network import Network
from unmask.model.spec import Spec
from unmask.model.transformer import Transformer
from unmask.text.columns import Columns
from unmask.text.rows import Row
from unmask.text.template import Template
from unmask.text.tokenizer import Tokenizer
from unmask.tokens import Layout, Tokens, moved


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed tokens with what is to be predicted of them."""

    tokens: Tokens
    rows: Tensor
    """(M,) int64, the tokens to be predicted."""
    labels: Tensor
    """(M,) int64, their ids; below zero: a filler that counts for nothing."""
    pairs: Tensor | None
    """(B,) int64, 0 where B follows A, else 1; None where that is not asked."""
    counts: Mapping[str, int]
    """Terms of each loss, known before the step."""

    @classmethod
    def of(
        cls,
        packed: Packed,
        seen: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        tokens: str,
        pair: str | None = None,
    ) -> "Batch":
        """Make a batch of packed sequences.

        seen: (T,) what the model reads in their place; rows, labels: (M,); tokens, pair: names of
        the losses; no pair where B is not asked about.
        """
        asked = None if pair is None else packed.labels
        counts = {tokens: len(rows)}
        if pair is not None and asked is not None:
            counts[pair] = len(asked)
        kinds = (packed.segments, packed.languages, packed.positions)
        return cls(
            Tokens(
                torch.from_numpy(seen),
                Layout.of(np.diff(packed.cu_seqlens)),
                *(None if kind is None else torch.from_numpy(kind) for kind in kinds),
            ),
            torch.from_numpy(rows),
            torch.from_numpy(labels),
            None if asked is None else torch.from_numpy(asked),
            counts,
        )

    def to(self, device: torch.device) -> Self:
        """Copy everything to a device."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            rows=moved(self.rows, device),
            labels=moved(self.labels, device),
            pairs=None if self.pairs is None else moved(self.pairs, device),
        )

    def filled(self, tokens: int) -> Self:
        """Complete it with sequences that count for nothing to exactly so many tokens."""
        return replace(self, tokens=self.tokens.filled(tokens))


class Movable(Protocol):
    """A batch, whatever is in it."""

    def to(self, device: torch.device) -> Self:
        """Copy everything to a device."""
        ...


B = TypeVar("B", bound=Movable, contravariant=True)


class Learnable(Protocol[B]):
    """What training makes smaller."""

    def loss(self, encoder: Transformer, head: Head, batch: B) -> dict[str, Part]:
        """Run the model on a batch: one part a loss, under the names of its counts."""
        ...


Question = Literal["nsp", "sop"]
"""What may be asked about a pair: whether B follows A, or whether it does not come before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """What a recipe says to its objective."""

    masking: Masking = field(default_factory=Masking)
    """Which tokens are predicted."""
    memory: int = 0
    """Tokens of the previous segment at the front of each sequence."""
    pair: Question | None = None
    """What is asked about pairs."""


class Objective(Learnable[Any], Protocol):
    """What a model is pre-trained to do: a file of `objectives/` ends with its class.

    Those that a recipe names have besides `of(aim, vocabulary)`, which makes one, and `head(pair)`,
    the name of the family's head that it needs.
    """

    @property
    def title(self) -> str:
        """What people call it."""
        ...

    @property
    def tokens(self) -> str:
        """Name of the loss about tokens."""
        ...

    @property
    def pair(self) -> str | None:
        """Name of the loss about pairs of texts; None where there is none."""
        ...

    def corrupt(self, packed: Packed, rng: np.random.Generator) -> Batch:
        """Hide what is to be predicted. All randomness comes from `rng`."""
        ...


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """One kind of checkpoint of a family: the encoder with a certain head."""

    architecture: str
    """The class that `transformers` opens it with."""
    bricks: Mapping[str, Brick]
    """What the head is made of, by the names that `Head` has for them."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Where its modules have other names than in the family's other heads."""
    prefixed: bool = True
    """Whether the encoder's tensors are named with the family's prefix."""
    causal: bool = False
    """Whether a causal structure is read with it, where another head has the same tensors."""

    def build(self, spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
        """Make the head; labels: how many a classifier tells apart."""
        bricks: dict[str, Any] = {
            name: brick(spec, pieces, labels) for name, brick in self.bricks.items()
        }
        return Head(**bricks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A family of models as data: a file of `families/` ends with one."""

    name: str
    """`model_type` in a config.json."""
    spec: Callable[[Mapping[str, Any]], Spec]
    """From a config.json to our structure; raises UserError for what is not supported."""
    config: Callable[[Spec], dict[str, Any]]
    """From our structure to a config.json."""
    table: Mapping[str, str]
    """Our names of modules -> theirs, with the prefix; `*` stands for a block."""
    blocks: Callable[[Spec], Sequence[str]] = numbered
    """What stands for each block in their names."""
    forms: Callable[[Spec], Sequence[Form]] = no_forms
    """Tensors that their checkpoints hold in another form."""
    prefix: str
    """What the encoder's tensors begin with where it is part of a larger model."""
    traits: Callable[[int, int], Mapping[str, Any]]
    """What a new structure has besides its sizes: of the id of the pad token, and the number of
    languages that are told apart, 0 where they are not."""
    copies: tuple[str, ...]
    """Tensors that a checkpoint may hold beside, because they follow from others, named without the
    prefix; `*` stands for anything."""
    heads: Mapping[str, HeadSpec]
    """By name, the largest first: a checkpoint is read as the first that it has all tensors of."""
    template: Template
    """How its sequences are laid out."""
    dropout: tuple[str, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    """Settings of what is dropped in training, that of the hidden states first."""
    peer: bool = True
    """Whether `transformers` has it, too."""

    def names(self, spec: Spec, head: str) -> Names:
        """Give the names of all tensors of a structure with a head, with the prefix."""
        own = self.heads[head].names
        shared = {ours: name for ours, name in self.table.items() if name not in own.values()}
        return Names({**shared, **own}, self.blocks(spec), self.forms(spec))

    def network(self, spec: Spec, head: str, labels: int = 0) -> Network:
        """Build an encoder with a head; its weights are not those of any training yet.

        labels: how many a classifier tells apart.
        """
        encoder = Transformer(spec)
        return Network(encoder, self.heads[head].build(spec, encoder.embeddings.piece, labels))


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A row as a task understands it."""

    place: str
    """File and line, as an error names them."""
    label: Any = None
    """What is to be predicted, as the task has it; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Windows laid end to end, with what a head reads of them and should make of that."""

    tokens: Tokens
    rows: Tensor
    """(M,) int64, the tokens that the head reads."""
    labels: Tensor | None
    """What training wants, as the task has it; None in prediction."""
    sizes: tuple[int, ...] = ()
    """How many neighbouring rows compete with each other, where they do."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """By what each loss is divided: its terms, or their weights."""
    ends: tuple[int, ...] = ()
    """Tokens that end a text, where one is written."""

    def to(self, device: torch.device) -> "Labelled":
        """Copy everything to a device."""
        tokens, rows = self.tokens.to(device), moved(self.rows, device)
        labels = None if self.labels is None else moved(self.labels, device)
        return replace(self, tokens=tokens, rows=rows, labels=labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What a model says of a record."""

    results: list[Any]
    """Mappings with the keys of transformers' pipelines, best first where results rank; or the
    numbers of a vector."""
    answer: Any
    """The one result, in the form of a record's label."""
    confidence: float
    """The model's own probability of the answer, 0 to 1; its score where there is none."""
    cut: bool = False
    """Whether the model could read a part of the record only."""
    unanswered: tuple[float, str] | None = None
    """Where there may be no answer: how much higher that scores than the best one, and that one."""


class Metric(Protocol):
    """Official figures of a task; it streams, and holds no texts."""

    main: str
    """Name of the figure by which models are compared: the higher the better."""
    names: tuple[str, ...]
    """Of all figures of which that is so."""

    def add(self, record: Any, prediction: Prediction) -> None:
        """Take in a record with its label, and what was predicted of it."""
        ...

    def right(self, record: Any, prediction: Prediction) -> bool:
        """Tell whether a prediction is wholly right."""
        ...

    def result(self) -> dict[str, float]:
        """Give the figures by their usual names."""
        ...

    def confusion(self) -> tuple[tuple[str, ...], np.ndarray] | None:
        """Give labels and counts (K, K), a row for each true label; None where nothing fits."""
        ...


class Task(Protocol):
    """What a model is fine-tuned to do, with its labels and its way to read."""

    @property
    def reading(self) -> Reading:
        """How records are laid out."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """What the head's scores stand for; empty where it has no classifier."""
        ...

    @property
    def ranked(self) -> bool:
        """Whether the results of a record are alternatives, of which usually the best is wanted."""
        ...

    def config(self) -> dict[str, Any]:
        """Give what a config.json has to hold of the task, besides the labels."""
        ...

    def windows(self, records: Sequence[Any], tokenizer: Tokenizer) -> list[list[Window]]:
        """Lay records out, each as one window or more, at most `reading.length` long."""
        ...

    def units(self, windows: list[Window]) -> list[list[Window]]:
        """Divide the windows of a record into what can be trained on by itself."""
        ...

    def batch(self, windows: Sequence[Window]) -> Labelled:
        """Lay windows end to end: whole units, in their order."""
        ...

    def loss(self, encoder: Transformer, head: Head, batch: Labelled) -> dict[str, Part]:
        """Run the model on a batch: one part a loss, under the names of `batch.counts`."""
        ...

    def outputs(self, encoder: Transformer, head: Head, batch: Labelled) -> Iterable[Tensor]:
        """Run the model on a batch: float32 scores for each window, as `combine` takes them."""
        ...

    def combine(
        self, record: Any, windows: Sequence[Window], outputs: Sequence[Tensor], top_k: int
    ) -> Prediction:
        """Make one prediction of the scores of all windows of a record."""
        ...

    def metric(self) -> Metric:
        """Begin an evaluation."""
        ...

    def written(self, pairs: Iterable[tuple[Any, Prediction]]) -> Iterator[str]:
        """Write predictions in the task's official format, piece by piece."""
        ...

    def shown(self, record: Any) -> str:
        """Write a record, without its label, for people to read."""
        ...


class Kind(Protocol):
    """A kind of task: a file of `tasks/` ends with one."""

    name: str
    """As the command line has it."""
    head: str
    """Name of the family's head that it needs."""
    length: int
    """Longest sequence where nothing else is said."""

    def rows(self, path: str) -> Iterator[Row]:
        """Read a file of the task's formats; a bad row comes with its error."""
        ...

    def record(self, row: Row, columns: Columns, labelled: bool) -> Any:
        """Understand a row. Raises UserError, naming it, when it lacks something.

        labelled: whether it must have a label; where it need not, a label is not looked at.
        """
        ...

    def direct(self, value: Any, place: str) -> Any:
        """Understand what Python or the command line gives: a text, a tuple or a mapping."""
        ...

    def learn(
        self, records: Iterable[Any], reading: Reading, weights: Mapping[str, float] | str | None
    ) -> Task:
        """Find out from the training records what labels there are.

        weights: of the labels in the loss, by name; `balanced`: in inverse proportion to their
        counts. Raises UserError for labels of mixed kinds, or none.
        """
        ...

    def restore(self, labels: tuple[str, ...], config: Mapping[str, Any], reading: Reading) -> Task:
        """Make the task that a saved model was fine-tuned for."""
        ...
