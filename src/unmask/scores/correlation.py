"""How well numbers follow those that are right: correlation and squared error."""

from array import array

from scipy import stats

from unmask.contracts import Prediction, Record


class Correlation:
    """`pearson` and `spearmanr`, by SciPy, and `mse`, the mean squared error.

    Numbers of which all are equal follow nothing: their correlation is given as 0.
    """

    main = "pearson"
    names: tuple[str, ...] = ("pearson", "spearmanr")

    def __init__(self) -> None:
        self._true, self._found = array("d"), array("d")

    def add(self, record: Record, prediction: Prediction) -> None:
        """Take in a record's number with the one predicted."""
        self._true.append(record.label)
        self._found.append(prediction.answer)

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether the number was found exactly."""
        return bool(record.label == prediction.answer)

    def result(self) -> dict[str, float]:
        """Give the figures."""
        pairs = list(zip(self._true, self._found, strict=True))
        vary = len(set(self._true)) > 1 and len(set(self._found)) > 1
        return {
            "pearson": float(stats.pearsonr(self._true, self._found)[0]) if vary else 0.0,
            "spearmanr": float(stats.spearmanr(self._true, self._found)[0]) if vary else 0.0,
            "mse": sum((true - found) ** 2 for true, found in pairs) / max(1, len(pairs)),
        }

    def confusion(self) -> None:
        """Give nothing: numbers are not taken for one another."""
