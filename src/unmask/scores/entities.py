"""Scores of labelled words: of the stretches that their labels make, and of the words.

K labels.
"""

from collections.abc import Sequence

import numpy as np

from unmask.contracts import Prediction, Record
from unmask.registry import late


class Entities:
    """Figures of the CoNLL tasks, by seqeval: `precision`, `recall`, `f1`; and `accuracy` of words.

    An entity is found when its first and last word and its type are right; F1 is over all types
    (micro). Plain labels make no entities: of them there is `accuracy` only.
    """

    main: str
    names: tuple[str, ...]

    def __init__(self, labels: Sequence[str], plain: bool) -> None:
        self.names = ("accuracy",) if plain else ("f1", "precision", "recall", "accuracy")
        self.main = self.names[0]
        self.labels = tuple(labels)
        self._plain = plain
        self._index = {label: i for i, label in enumerate(self.labels)}
        self._counts = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)
        self._words = self._right = 0
        self._true = self._predicted = self._found = 0

    def add(self, record: Record, prediction: Prediction) -> None:
        """Count the words and entities of a sentence, by its labels: a name a word."""
        for pair in zip(record.label, prediction.answer, strict=True):
            true, guess = (self._index.get(label) for label in pair)
            self._words += 1
            self._right += pair[0] == pair[1]
            if true is not None and guess is not None:
                self._counts[true, guess] += 1
        if not self._plain:
            get_entities = late("seqeval.metrics.sequence_labeling").get_entities
            wanted = set(get_entities(list(record.label)))
            given = set(get_entities(list(prediction.answer)))
            self._true += len(wanted)
            self._predicted += len(given)
            self._found += len(wanted & given)

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether every word has its label."""
        return bool(record.label == prediction.answer)

    def result(self) -> dict[str, float]:
        """Give the figures; 0 where there is nothing to divide by."""
        figures = {"accuracy": self._right / max(1, self._words)}
        if self._plain:
            return figures
        return {
            "precision": self._found / max(1, self._predicted),
            "recall": self._found / max(1, self._true),
            "f1": 2 * self._found / max(1, self._predicted + self._true),
            **figures,
        }

    def confusion(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Give labels and counts of words (K, K), a row for each true label."""
        return self.labels, self._counts
