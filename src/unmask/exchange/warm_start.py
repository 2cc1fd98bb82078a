"""Warm start: an encoder-decoder made of two checkpoints (https://arxiv.org/abs/1907.12461)."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from unmask.contracts import Family
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained
from unmask.registry import discover

FAMILY, HEAD = "encoder-decoder", "seq2seq-lm"


def encoder_decoder(
    encoder: Pretrained, decoder: Pretrained, generator: torch.Generator
) -> tuple[Pretrained, dict[str, Tensor]]:
    """Let one BERT read and another, or the same one, write.

    Returns the new model, which shares no tensor with them, and by their names in checkpoints those
    of its tensors that neither has, drawn at random: all of cross-attention, and what predicts
    tokens where the decoder's checkpoint has no such head. Raises UserError for two that do not go
    together.
    """
    for part, given in (("encoder", encoder), ("decoder", decoder)):
        if given.family.name != "bert":
            raise UserError(f"the {part} is a {given.family.name}; only BERT can be one")
    tokenizer, other = encoder.tokenizer, decoder.tokenizer
    if tokenizer and other and tokenizer.fingerprint != other.fingerprint:
        raise UserError(
            "encoder and decoder have different vocabularies; take two models of the same one"
        )
    family: Family = discover("unmask.families", "FAMILY")[FAMILY]
    spec = replace(decoder.spec, causal=True, source=replace(encoder.spec, causal=False))
    network = family.network(spec, HEAD)
    network.initialise(generator)
    state = network.state_dict()
    known = {
        name: tensor.clone()
        for name, tensor in (_read(encoder.network.state_dict()) | _written(decoder)).items()
        if name in state
    }
    network.load_state_dict(state | known)
    drawn = {name: tensor for name, tensor in network.state_dict().items() if name not in known}
    told = family.config(spec)
    made = Pretrained(
        family=family,
        spec=spec,
        network=network.eval(),
        head=HEAD,
        tokenizer=tokenizer or other,
        config={
            part: {**told[part], **{n: v for n, v in given.config.items() if n in family.dropout}}
            for part, given in (("encoder", encoder), ("decoder", decoder))
        },
    )
    return made, family.names(spec, HEAD).theirs(drawn)


def _read(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors of an encoder as those of a source's."""
    begins = ("encoder.", "encoder.source."), ("head.pooler.", "head.pooler.")
    return {
        ours + name.removeprefix(theirs): tensor
        for name, tensor in state.items()
        for theirs, ours in begins
        if name.startswith(theirs)
    }


def _written(decoder: Pretrained) -> dict[str, Tensor]:
    """Name the tensors of a BERT as those of a decoder: what fills masks predicts what comes."""
    return {
        name.replace("head.masked.", "head.following.", 1): tensor
        for name, tensor in decoder.network.state_dict().items()
        if name.startswith(("encoder.", "head.masked.", "head.following."))
    }
