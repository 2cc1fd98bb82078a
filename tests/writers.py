"""Models that write, small and with strong weights: ours, and transformers' with the same ones."""

from dataclasses import replace
from functools import cache
from typing import Any

import torch
import transformers

from parity import GPT2, SMALL, copied, own, peer
from unmask.contracts import Family
from unmask.exchange.huggingface import Pretrained
from unmask.families.encoder_decoder import FAMILY as BERTS
from unmask.families.gpt2 import FAMILY as DECODER
from unmask.model.generation import Generation
from unmask.model.search import Written, generate
from unmask.tokens import Layout, Tokens

START, STOP, PAD = 2, 3, 0
SOURCE = replace(SMALL, positions=32)
SPECS = {
    "gpt2": replace(GPT2, positions=32),
    "encoder-decoder": replace(SMALL, positions=32, causal=True, source=SOURCE),
}
FAMILIES: dict[str, Family] = {"gpt2": DECODER, "encoder-decoder": BERTS}
PROMPTS = [[7, 9, 11, 12], [5], [30, 31, 32, 33, 34, 35, 36, 37, 38], [8, 8, 8], [21, 22], [9, 30]]
"""What is gone on from; of an encoder-decoder, what is read."""


@cache
def models(name: str) -> tuple[Pretrained, Any]:
    """Make both of a family."""
    family, spec = FAMILIES[name], SPECS[name]
    head = next(iter(family.heads))
    model, made = peer(family, head, spec), own(family, head, spec)
    # Logits of so many: strong weights alone would let every text repeat one token for ever.
    copied(made, model)
    return made, model


def written(
    name: str, settings: Generation, most: int = 12, stop: tuple[int, ...] = (STOP,), **others: Any
) -> list[list[Written]]:
    """Let ours write behind all prompts at once."""
    made, _ = models(name)
    assert made.network.head.following is not None
    prompts, source = PROMPTS, None
    if name == "encoder-decoder":
        ids = torch.tensor([token for prompt in PROMPTS for token in prompt])
        source = Tokens(ids, Layout.of([len(prompt) for prompt in PROMPTS]))
        prompts = [[START]] * len(PROMPTS)
    return generate(
        made.network.encoder,
        made.network.head.following,
        prompts,
        settings,
        limits=[most] * len(prompts),
        stop=stop,
        source=source,
        **others,
    )


@torch.no_grad()
def expected(
    name: str, most: int = 12, stop: tuple[int, ...] = (STOP,), **settings: Any
) -> list[list[tuple[list[int], float | None]]]:
    """Let theirs write behind one prompt after the other: new tokens, and the score of a beam."""
    _, model = models(name)
    found = []
    for prompt in PROMPTS:
        config = transformers.GenerationConfig(
            max_new_tokens=most,
            eos_token_id=list(stop) or None,
            pad_token_id=PAD,
            decoder_start_token_id=START,
            return_dict_in_generate=True,
            output_scores=True,
            **settings,
        )
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            generation_config=config,
        )
        begin = 1 if name == "encoder-decoder" else len(prompt)
        scores = out.get("sequences_scores")
        found.append(
            [
                (_ended(ids[begin:].tolist(), stop), None if scores is None else float(scores[n]))
                for n, ids in enumerate(out.sequences)
            ]
        )
    return found


def _ended(ids: list[int], stop: tuple[int, ...]) -> list[int]:
    """Leave out what fills a text up behind its end."""
    ends = [place for place, token in enumerate(ids) if token in stop]
    return ids[: ends[0] + 1] if ends else ids
