"""Examples of one text: whole sentences of a document, as many as the length allows.

The DOC-SENTENCES form of RoBERTa (Liu et al. 2019, section 4.2), which never runs into the next
document and was found slightly better than the one that does. S sentences or parts of sentences.
"""

import numpy as np

from unmask.data.chains import reached
from unmask.data.draws import address
from unmask.data.examples import Plan, blocks
from unmask.data.packing import runs
from unmask.data.store import Store
from unmask.errors import UserError
from unmask.text.template import Template


def plan_singles(
    store: Store,
    documents: np.ndarray,
    *,
    seed: int,
    epoch: int,
    length: int,
    template: Template,
) -> Plan:
    """Plan sequences of at most `length` tokens; only their order has chance in it.

    Each is laid out as one text, by BERT `[CLS] sentences [SEP]`. A sentence that is longer alone
    is cut into parts. Raises UserError when there is no document.
    """
    if not len(documents):
        raise UserError(f"{store.path}: there are no documents to train on. Hold out fewer.")
    longest = length - template.special(1)
    starts, sizes = [], []
    for sentences in blocks(store, documents, address(seed, epoch)):
        whole = np.diff(sentences.bounds)
        parts = -(-whole // longest)  # rounded up
        place = runs(np.zeros_like(parts), parts)  # (S,), which part of its sentence each one is
        size = np.minimum(np.repeat(whole, parts) - place * longest, longest)
        bounds = np.concatenate([[0], np.cumsum(size)])
        stop = np.repeat(np.cumsum(parts)[sentences.stop - 1], parts)
        following = np.searchsorted(bounds, bounds[:-1] + longest, side="right") - 1
        following = np.minimum(following, stop)
        rows = reached(np.unique(stop - 1, return_index=True)[1], following, stop)
        starts.append((np.repeat(sentences.starts, parts) + place * longest)[rows])
        sizes.append(bounds[following[rows]] - bounds[rows])
    plan = Plan(
        np.concatenate(starts)[:, None],
        np.concatenate(sizes)[:, None].astype(np.int32),
        None,
        template.specials,
    )
    return plan.shuffle(seed, epoch)
