"""Which labels were taken for which, as a table whose colours show it.

K labels.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from unmask.train import page
from unmask.train.page import INK

LARGEST = 60
"""Labels of a whole matrix; of more, only the most frequent confusions are listed."""
ROOMY = 12
"""Labels up to which cells have room, and the columns' names lie."""
FULL = 0.5
"""Share of a row above which a cell is so dark that its count is written in white."""
PAIRS = 20
"""Confusions that are listed."""

STYLE = """
.confusion td, .confusion th { text-align: center; vertical-align: middle; padding: .2rem .4rem }
.confusion th { font-weight: normal; max-width: 12rem; overflow: hidden; white-space: nowrap }
.confusion th { text-overflow: ellipsis }
.confusion tr th:first-child { text-align: right; position: sticky; left: 0; background: #fff }
.confusion td { min-width: 3rem; border: 1px solid #fff; print-color-adjust: exact }
.confusion .share { color: #5b6b7c } .confusion .none { color: #c5ced8 }
.confusion .full { color: #fff } .wide { overflow-x: auto }
.dense { line-height: 1.2 } .dense td { min-width: 1.2em; padding: .1em .05em }
.dense .column { writing-mode: vertical-rl; max-height: 9rem; vertical-align: bottom }
"""


def confusion(matrix: Mapping[str, Any] | None) -> str:
    """Show a matrix of counts, a row for each true label; nothing where there is none.

    matrix: `labels`, K names, and `counts`, K lists of K numbers.
    """
    if matrix is None:
        return ""
    labels, counts = matrix["labels"], matrix["counts"]
    parts = ["<h2>Which label was taken for which</h2>"]
    if len(labels) <= LARGEST:
        parts.append(_matrix(labels, counts))
    if len(labels) > ROOMY:
        parts.append(_pairs(labels, counts))
    return "".join(parts)


def _matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Colour each cell by its share of its row, and write the count in it."""
    names = "".join(f'<th class="column">{html.escape(name)}</th>' for name in labels)
    lines = [f'<tr><th>right \\ predicted</th>{names}<th class="column share">found</th></tr>']
    for i, row in enumerate(counts):
        total = sum(row)
        cells = "".join(_cell(count, count / max(1, total), i == j) for j, count in enumerate(row))
        share = f"{row[i] / total:.0%}" if total else ""
        lines.append(
            f'<tr><th>{html.escape(labels[i])}</th>{cells}<td class="share">{share}</td></tr>'
        )
    roomy = len(labels) <= ROOMY
    dense = "" if roomy else f' dense" style="font-size: {max(8, 11 - len(labels) // 20)}px'
    return f'<div class="wide"><table class="confusion{dense}">{"".join(lines)}</table></div>'


def _cell(count: int, share: float, right: bool) -> str:
    ink = INK["heldout"] if right else INK["unigram"]
    kind = "full" if share > FULL else "some" if count else "none"
    return f'<td class="{kind}" style="background: {ink}{round(255 * share):02x}">{count}</td>'


def _pairs(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """List the most frequent confusions."""
    found = [
        (count, sum(row), labels[i], labels[j])
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    if not found:
        return ""
    most = sorted(found, key=lambda pair: -pair[0])[:PAIRS]
    head = page.line(["right", "predicted", "times", "of"], "th")
    lines = "".join(page.line([a, b, f"{n:,}", f"{of:,}"]) for n, of, a, b in most)
    return f"<p>Most often:</p><table>{head}{lines}</table>"
