"""How often each label was taken for which: accuracy, F1 and Matthews' correlation of it.

K labels.
"""

from collections.abc import Sequence

import numpy as np

from unmask.contracts import Prediction, Record
from unmask.registry import late


class Confusion:
    """Figures of single labels: `accuracy`, `f1`, `matthews_correlation`.

    Of two labels, F1 is that of the second, as GLUE has it; of more, the mean of all (macro).
    """

    main = "accuracy"
    names: tuple[str, ...] = ("accuracy", "f1", "matthews_correlation")

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._index = {label: i for i, label in enumerate(self.labels)}
        self._counts = np.zeros((len(self.labels), len(self.labels)), dtype=np.int64)

    def add(self, record: Record, prediction: Prediction) -> None:
        """Count a record's label with the one predicted."""
        self._counts[self._index[record.label], self._index[prediction.answer]] += 1

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether the label was found."""
        return bool(record.label == prediction.answer)

    def result(self) -> dict[str, float]:
        """Give the figures, by scikit-learn."""
        sklearn = late("sklearn.metrics")
        true, found = np.indices(self._counts.shape).reshape(2, -1)  # (K * K,) each
        counts = self._counts.flatten()
        average = "binary" if len(self.labels) == 2 else "macro"
        seen = counts > 0  # macro F1 is over the labels that occur
        true, found, counts = true[seen], found[seen], counts[seen]
        return {
            "accuracy": float(sklearn.accuracy_score(true, found, sample_weight=counts)),
            "f1": float(
                sklearn.f1_score(
                    true, found, average=average, sample_weight=counts, zero_division=0
                )
            ),
            "matthews_correlation": float(
                sklearn.matthews_corrcoef(true, found, sample_weight=counts)
            ),
        }

    def confusion(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Give labels and counts (K, K), a row for each true label."""
        return self.labels, self._counts


class ManyLabels:
    """Figures of sets of labels: `accuracy` (sets wholly right), `f1` (micro), `f1_macro`."""

    main = "f1"
    names: tuple[str, ...] = ("f1", "f1_macro", "accuracy")

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._right = self._records = 0
        self._counts = np.zeros((len(self.labels), 2, 2), dtype=np.int64)
        """For each label: whether it is there, by whether it was predicted."""

    def add(self, record: Record, prediction: Prediction) -> None:
        """Count a record's labels with those predicted."""
        self._records += 1
        self._right += self.right(record, prediction)
        for i, label in enumerate(self.labels):
            self._counts[i, int(label in record.label), int(label in prediction.answer)] += 1

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether exactly the right labels were found."""
        return set(record.label) == set(prediction.answer)

    def result(self) -> dict[str, float]:
        """Give the figures; F1 by scikit-learn."""
        return {
            "accuracy": self._right / max(1, self._records),
            "f1": _binary_f1(self._counts.sum(0)),
            "f1_macro": float(np.mean([_binary_f1(counts) for counts in self._counts])),
        }

    def confusion(self) -> None:
        """Give nothing: sets of labels are not taken for one another."""


def _binary_f1(counts: np.ndarray) -> float:
    """F1 of counts (2, 2), true by predicted."""
    true, found = np.indices((2, 2)).reshape(2, -1)
    weights = counts.flatten()
    return float(
        late("sklearn.metrics").f1_score(true, found, sample_weight=weights, zero_division=0)
    )
