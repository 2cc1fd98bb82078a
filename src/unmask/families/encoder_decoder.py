"""BERT as encoder and BERT as decoder: Rothe et al. 2020, https://arxiv.org/abs/1907.12461."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from torch import nn

from unmask.contracts import Family, HeadSpec
from unmask.errors import UserError
from unmask.families import bert
from unmask.model.heads import Pooler, masked
from unmask.model.spec import Spec
from unmask.text.template import BERT

DECODES = {"is_decoder": True, "add_cross_attention": True}
"""What the settings of a decoder have beside those of a BERT."""


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported."""
    decoder = _part(config, "decoder")
    for setting, wanted in DECODES.items():
        if decoder.get(setting) is not wanted:
            raise UserError(
                f"decoder: {setting} is {decoder.get(setting)!r}, so the decoder has no"
                " cross-attention to read a source with; make an encoder-decoder of it with"
                " Model.from_encoder_decoder, which adds that"
            )
    plain = _read(dict.fromkeys(DECODES, False), decoder, "decoder")
    return replace(plain, causal=True, source=_read({}, _part(config, "encoder"), "encoder"))


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    assert spec.source is not None, "an encoder-decoder has an encoder"
    return {
        "model_type": "encoder-decoder",
        "is_encoder_decoder": True,
        "encoder": bert.config(spec.source),
        "decoder": bert.config(spec) | DECODES,
    }


def _part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Find the settings of one of the two."""
    part = config.get(name)
    if not isinstance(part, Mapping):
        raise UserError(f"{name} is {part!r}; it must hold the settings of a BERT")
    if (kind := part.get("model_type")) != "bert":
        raise UserError(f"{name}: model_type is {kind!r}; only 'bert' is supported")
    return part


def _read(without: Mapping[str, Any], part: Mapping[str, Any], name: str) -> Spec:
    """Read one of the two as a BERT, some settings replaced."""
    try:
        return bert.spec({**part, **without})
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def no_recipe(pad: int, languages: int) -> NoReturn:
    """Refuse to make a new structure of a recipe's sizes, which are those of one Transformer."""
    raise UserError("model.family: an encoder-decoder has no recipe; choose another family")


def unread(spec: Spec, pieces: nn.Embedding, labels: int) -> Pooler:
    """Keep the pooler that an encoder brings with it, though nothing reads what it pools."""
    assert spec.source is not None, "an encoder-decoder has an encoder"
    return Pooler(spec.source)


ENCODER = {
    ours.replace("encoder.", "encoder.source.", 1): theirs.replace("bert.", "encoder.", 1)
    for ours, theirs in bert.TABLE.items()
    if ours.startswith("encoder.")
}
DECODER = {ours: f"decoder.{name}" for ours, name in bert.TABLE.items() if ours[:8] == "encoder."}
CROSS = {
    ours.replace(".attention", ".cross"): theirs.replace(".attention.", ".crossattention.")
    for ours, theirs in DECODER.items()
    if ".attention" in ours
}


def blocks(spec: Spec) -> list[str]:
    """Name as many blocks as the longer one of both has."""
    assert spec.source is not None, "an encoder-decoder has an encoder"
    return [str(number) for number in range(max(spec.blocks, spec.source.blocks))]


FAMILY = Family(
    name="encoder-decoder",
    spec=spec,
    config=config,
    table={
        **ENCODER,
        **DECODER,
        **CROSS,
        "encoder.bridge": "enc_to_dec_proj",
        "head.pooler.dense": "encoder.pooler.dense",
        "head.following.transform": "decoder.cls.predictions.transform.dense",
        "head.following.norm": "decoder.cls.predictions.transform.LayerNorm",
        "head.following": "decoder.cls.predictions",
    },
    blocks=blocks,
    prefix="",
    traits=no_recipe,
    copies=("*.embeddings.position_ids", "decoder.cls.predictions.decoder.*"),
    heads={"seq2seq-lm": HeadSpec("EncoderDecoderModel", {"following": masked, "pooler": unread})},
    template=BERT,
)
