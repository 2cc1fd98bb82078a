"""XLM: Lample and Conneau 2019, https://arxiv.org/abs/1901.07291."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from unmask.contracts import Family, HeadSpec
from unmask.model.heads import Decoder, Pooler, each_label, two_scores
from unmask.model.settings import Settings
from unmask.model.spec import Spec
from unmask.text.template import XLM

SETTINGS = Settings(
    sizes={
        "width": "emb_dim",
        "heads": "n_heads",
        "layers": "n_layers",
        "pieces": "vocab_size",
        "positions": "max_position_embeddings",
    },
    eps="layer_norm_eps",
    only={
        "asm": False,
        "is_encoder": True,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": None,
        "summary_proj_to_labels": True,
        "tie_word_embeddings": True,
    },
)


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported.

    A token is told its language where there are several and the model has a table of them.
    """
    found, languages = SETTINGS.read(config), config.get("n_langs", 1)
    several = languages > 1 and config.get("use_lang_emb", True)
    return Spec(
        **found,
        inner=4 * found["width"],
        segments=0,
        languages=languages if several else 0,
        activation="gelu" if config.get("gelu_activation", True) else "relu",
        sinusoidal=bool(config.get("sinusoidal_embeddings", False)),
        causal=bool(config.get("causal", False)),
    )


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    return {
        "model_type": "xlm",
        **SETTINGS.write(spec),
        "n_langs": spec.languages or 1,
        "use_lang_emb": spec.languages > 0,
        "gelu_activation": spec.activation == "gelu",
        "sinusoidal_embeddings": spec.sinusoidal,
        "causal": spec.causal,
    }


def masked(spec: Spec, pieces: nn.Embedding, labels: int) -> Decoder:
    """Predict hidden tokens, or the next ones, by the states as they are."""
    return Decoder(pieces)


def as_wide_as_labels(spec: Spec, pieces: nn.Embedding, labels: int) -> Pooler:
    """Pool to as many numbers as there are labels, of which choices have two that mean nothing."""
    return Pooler(spec, nn.Identity(), labels or 2)


def one_of_labels(spec: Spec, pieces: nn.Embedding, labels: int) -> nn.Linear:
    """Give one score to what is pooled so."""
    return nn.Linear(labels or 2, 1)


TABLE = {
    "encoder.embeddings.piece": "transformer.embeddings",
    "encoder.embeddings.position": "transformer.position_embeddings",
    "encoder.embeddings.language": "transformer.lang_embeddings",
    "encoder.embeddings.norm": "transformer.layer_norm_emb",
    "encoder.blocks.*.attention.query": "transformer.attentions.*.q_lin",
    "encoder.blocks.*.attention.key": "transformer.attentions.*.k_lin",
    "encoder.blocks.*.attention.value": "transformer.attentions.*.v_lin",
    "encoder.blocks.*.attention.output": "transformer.attentions.*.out_lin",
    "encoder.blocks.*.attention_norm": "transformer.layer_norm1.*",
    "encoder.blocks.*.feed_forward.up": "transformer.ffns.*.lin1",
    "encoder.blocks.*.feed_forward.down": "transformer.ffns.*.lin2",
    "encoder.blocks.*.feed_forward_norm": "transformer.layer_norm2.*",
    "head.masked": "pred_layer.proj",
    "head.classifier": "classifier",
    "head.span": "qa_outputs",
}
OF_TEXTS = {"head.classifier": "sequence_summary.summary"}
OF_CHOICES = {"head.pooler.dense": "sequence_summary.summary", "head.classifier": "logits_proj"}


def heads(kind: str) -> dict[str, HeadSpec]:
    """Make the heads of a family whose classes in `transformers` begin with `kind`."""
    return {
        "masked-lm": HeadSpec(f"{kind}WithLMHeadModel", {"masked": masked}),
        "causal-lm": HeadSpec(
            f"{kind}WithLMHeadModel",
            {"following": masked},
            {"head.following": "pred_layer.proj"},
            causal=True,
        ),
        "text-classification": HeadSpec(
            f"{kind}ForSequenceClassification", {"classifier": each_label}, OF_TEXTS
        ),
        "multiple-choice": HeadSpec(
            f"{kind}ForMultipleChoice",
            {"pooler": as_wide_as_labels, "classifier": one_of_labels},
            OF_CHOICES,
        ),
        "token-classification": HeadSpec(
            f"{kind}ForTokenClassification", {"classifier": each_label}
        ),
        "question-answering": HeadSpec(f"{kind}ForQuestionAnsweringSimple", {"span": two_scores}),
        "none": HeadSpec(f"{kind}Model", {}, prefixed=False),
    }


FAMILY = Family(
    name="xlm",
    spec=spec,
    config=config,
    table=TABLE,
    prefix="transformer.",
    traits=lambda pad, languages: {"segments": 0, "languages": languages},
    copies=("position_ids", "pred_layer.proj.weight"),
    heads=heads("XLM"),
    template=XLM,
    dropout=("dropout", "attention_dropout"),
)
