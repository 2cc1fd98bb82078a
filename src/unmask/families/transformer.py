"""The original Transformer: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.

`transformers` has no class for it, so the names of settings and tensors are our own.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from unmask.contracts import Family, HeadSpec
from unmask.errors import UserError
from unmask.families.encoder_decoder import no_recipe
from unmask.model.heads import Decoder, OwnDecoder
from unmask.model.settings import Settings
from unmask.model.spec import Spec
from unmask.text.template import XLM


def _settings(part: str) -> Settings:
    """Name the settings of the encoder, or of the decoder."""
    return Settings(
        sizes={
            "width": "d_model",
            "heads": f"{part}_attention_heads",
            "inner": f"{part}_ffn_dim",
            "layers": f"{part}_layers",
            "pieces": "vocab_size",
            "positions": "max_position_embeddings",
        },
        activation="activation_function",
        eps="layer_norm_eps",
        defaults={"activation_function": "relu", "layer_norm_eps": 1e-5},
    )


ENCODER, DECODER = _settings("encoder"), _settings("decoder")
CHOICES = {
    "scale_embedding": True,
    "norm_first": False,
    "final_norm": False,
    "share_embeddings": True,
    "tie_word_embeddings": True,
}
"""Settings that are true or false, with what they are in the paper."""


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported.

    torch.nn.Transformer has a final norm, and norms first where it is told so.
    """
    chosen = {name: config.get(name, usual) for name, usual in CHOICES.items()}
    if wrong := [name for name, value in chosen.items() if not isinstance(value, bool)]:
        raise UserError(f"{wrong[0]} is {chosen[wrong[0]]!r}; it must be true or false")
    if (width := config.get("d_model")) and width % 2:
        raise UserError(f"d_model is {width}; it must be even, for a sine and a cosine each")
    source, target = (
        Spec(
            **settings.read(config),
            segments=0,
            sinusoidal=True,
            embedding_norm=False,
            scaled=chosen["scale_embedding"],
            norm_first=chosen["norm_first"],
            final_norm=chosen["final_norm"],
        )
        for settings in (ENCODER, DECODER)
    )
    return replace(
        target,
        causal=True,
        source=source,
        shared=chosen["share_embeddings"],
        tied=chosen["tie_word_embeddings"],
    )


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    assert spec.source is not None, "an encoder-decoder has an encoder"
    return {
        "model_type": "transformer",
        "is_encoder_decoder": True,
        **ENCODER.write(spec.source),
        **DECODER.write(spec),
        "scale_embedding": spec.scaled,
        "norm_first": spec.norm_first,
        "final_norm": spec.final_norm,
        "share_embeddings": spec.shared,
        "tie_word_embeddings": spec.tied,
    }


def following(spec: Spec, pieces: nn.Embedding, labels: int) -> Decoder:
    """Predict the next token by a linear layer, the table that embeds tokens or one of its own."""
    return Decoder(pieces) if spec.tied else OwnDecoder(spec)


FAMILY = Family(
    name="transformer",
    spec=spec,
    config=config,
    table={},
    prefix="",
    traits=no_recipe,
    copies=(),
    heads={"seq2seq-lm": HeadSpec("Transformer", {"following": following})},
    template=XLM,
    dropout=("dropout",),
    peer=False,
)
