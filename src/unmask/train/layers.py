"""How fast each layer learns, and from when on.

Blocks count as layers 1 to N, from the bottom; below them lie the embeddings, above them the head.
Rates that fall from layer to layer, and layers that thaw one after the other, are those of ULMFiT
(Howard and Ruder 2018, https://arxiv.org/abs/1801.06146, section 3.3).
"""

import re

from unmask.train.optimizer import Grouping, Pace
from unmask.train.tuning import Layers


def grouping(layers: Layers, blocks: int, epoch: int) -> Grouping:
    """Give the pace of a parameter by its name.

    blocks: N; epoch: steps of one, after each of which another layer thaws where they do so.
    """
    whole = layers.last is None or layers.last >= blocks
    embeddings = whole if layers.embeddings is None else layers.embeddings

    def pace(name: str) -> Pace:
        """Give the pace of a parameter."""
        below = blocks + 1 - _layer(name, blocks)  # layers between it and the head, itself included
        trained = embeddings if below > blocks else whole or below <= (layers.last or 0)
        start = 1 + below * epoch if layers.gradual else 1
        return Pace(factor=layers.decay**below, start=start if trained else None)

    return pace


def _layer(name: str, blocks: int) -> int:
    """Tell the layer of a parameter; an encoder that is read as a source has the same ones."""
    if found := re.match(r"encoder\.(?:source\.)?blocks\.(\d+)\.", name):
        return min(int(found[1]) + 1, blocks)
    return 0 if re.match(r"encoder\.(?:source\.)?embeddings\.", name) else blocks + 1
