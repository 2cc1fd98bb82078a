"""How well numbers follow those that are right: correlation and squared error."""

from array import array

from unmask.contracts import Prediction, Record
from unmask.registry import late


class Correlation:
    """`pearson` and `spearmanr`, by SciPy, and `mse`, the mean squared error.

    Numbers of which all are equal follow nothing: their correlation is given as 0. Numbers on
    another scale than those that are right have no error.
    """

    main = "pearson"
    names: tuple[str, ...] = ("pearson", "spearmanr")

    def __init__(self, same_scale: bool = True) -> None:
        self._same_scale = same_scale
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
        figures = {"pearson": 0.0, "spearmanr": 0.0}
        if len(set(self._true)) > 1 and len(set(self._found)) > 1:
            scipy = late("scipy.stats")
            figures["pearson"] = float(scipy.pearsonr(self._true, self._found)[0])
            figures["spearmanr"] = float(scipy.spearmanr(self._true, self._found)[0])
        if self._same_scale:
            pairs = zip(self._true, self._found, strict=True)
            total = sum((true - found) ** 2 for true, found in pairs)
            figures["mse"] = total / max(1, len(self._true))
        return figures

    def confusion(self) -> None:
        """Give nothing: numbers are not taken for one another."""
