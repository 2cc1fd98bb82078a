"""Examples of a text and its translation: the two sentences of a document.

Translation language modelling reads them side by side (Lample and Conneau 2019, section 3.3). The
paper has two special tokens between them; here is one, as in any pair that `transformers` lays out
for XLM. n documents.
"""

import numpy as np

from unmask.data.draws import address, below, uniform
from unmask.data.examples import Plan
from unmask.data.pairs import truncate
from unmask.data.store import Store
from unmask.errors import UserError
from unmask.text.template import Template


def plan_translations(
    store: Store,
    documents: np.ndarray,
    *,
    seed: int,
    epoch: int,
    length: int,
    template: Template,
) -> Plan:
    """Plan a sequence of two texts for each document; in half of them the second comes first.

    Where both are too long for `length` tokens, the longer one loses its end. The languages are
    the numbers 0 and 1 of the store's two. Raises UserError when there is no document.
    """
    sentences = store.document_starts[documents + 1] - store.document_starts[documents]
    documents = documents[sentences == 2]  # not those where nothing was left of a sentence
    if not len(documents):
        raise UserError(f"{store.path}: there are no documents to train on. Hold out fewer.")
    first = store.document_starts[documents]
    bounds = store.sentence_starts[first[:, None] + np.arange(3)]  # (n, 3)
    sizes = truncate(np.diff(bounds, axis=1), length - template.special(2)).astype(np.int32)
    starts = bounds[:, :2]
    languages = np.tile(np.array([0, 1], dtype=np.int8), (len(documents), 1))
    keys = below(address(seed, epoch), documents)
    swapped = uniform(keys, 0) < 0.5
    for columns in (starts, sizes, languages):
        columns[swapped] = columns[swapped, ::-1]
    plan = Plan(starts, sizes, None, template.specials, languages)
    return plan.shuffle(seed, epoch)
