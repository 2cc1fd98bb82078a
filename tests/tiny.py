"""Models of a few thousand parameters, made on the spot, with weights strong enough to matter."""

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_lowercase, punctuation

import numpy as np
import torch

from unmask.contracts import Batch
from unmask.data.packing import Packed
from unmask.exchange.huggingface import Pretrained
from unmask.families.bert import FAMILY
from unmask.families.encoder_decoder import FAMILY as BERTS
from unmask.model.spec import Spec
from unmask.objectives.masked import MaskedObjective
from unmask.text.kinds.wordpiece import SPECIAL, WordPiece, describe
from unmask.text.tokenizer import Tokenizer

SENTENCES = [
    f"The {colour} {animal} {verb} over the {thing} ."
    for colour in ("quick", "brown", "lazy")
    for animal in ("fox", "dog", "horse", "bear")
    for verb in ("jumped", "looked", "walked")
    for thing in ("fence", "river")
]


def tokenizer() -> Tokenizer:
    """Know the words of the sentences, and of all others the letters."""
    words = sorted({word.lower() for sentence in SENTENCES for word in sentence.split()})
    letters = [mark + letter for mark in ("", "##") for letter in ascii_lowercase]
    pieces = dict.fromkeys([*SPECIAL, *words, *letters, *punctuation])
    return WordPiece(describe(list(pieces), cased=False))


def pretrained(
    words: Tokenizer,
    head: str = "pretraining",
    positions: int = 32,
    labels: tuple[str, ...] = (),
) -> Pretrained:
    """Build a network of two layers of width 16, its weights drawn from N(0, 0.3)."""
    spec = Spec(
        width=16,
        heads=2,
        inner=32,
        layers=2,
        pieces=words.vocab_size,
        positions=positions,
        segments=2,
    )
    family = FAMILY
    if head == "seq2seq-lm":
        family, spec = BERTS, replace(spec, causal=True, source=spec)
    network = family.network(spec, head, len(labels)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = float(name.endswith("norm.weight"))  # around 1, or the signal fades away
            parameter.copy_(scale + torch.randn(parameter.shape, generator=generator) * 0.3)
    return Pretrained(
        family=family, spec=spec, network=network, head=head, tokenizer=words, labels=labels
    )


def batch(objective: MaskedObjective, lengths: Sequence[int], pairs: bool = True) -> Batch:
    """Lay out sequences of random words, and mask some of them."""
    rng = np.random.default_rng(len(lengths))
    ids = rng.integers(5, 40, sum(lengths))
    packed = Packed(
        ids=ids,
        cu_seqlens=np.concatenate([[0], np.cumsum(lengths)]),
        segments=rng.integers(0, 2, ids.size) if pairs else None,
        labels=rng.integers(0, 2, len(lengths)) if pairs else None,
    )
    return objective.corrupt(packed, rng)
