"""DistilBERT: Sanh et al. 2019, https://arxiv.org/abs/1910.01108."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from unmask.contracts import Family, HeadSpec
from unmask.model.heads import Pooler, each_label, masked, one_score, two_scores
from unmask.model.settings import Settings
from unmask.model.spec import Spec
from unmask.text.template import XLM

SETTINGS = Settings(
    sizes={
        "width": "dim",
        "heads": "n_heads",
        "inner": "hidden_dim",
        "layers": "n_layers",
        "pieces": "vocab_size",
        "positions": "max_position_embeddings",
    },
    activation="activation",
    only={"tie_word_embeddings": True},
)


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported."""
    sinusoidal = bool(config.get("sinusoidal_pos_embds", False))
    return Spec(**SETTINGS.read(config), segments=0, sinusoidal=sinusoidal)


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    fixed = {"sinusoidal_pos_embds": spec.sinusoidal}
    return {"model_type": "distilbert", **SETTINGS.write(spec), **fixed}


def pooler(spec: Spec, pieces: nn.Embedding, labels: int) -> Pooler:
    """Pool with the activation of the inner layers instead of BERT's tanh."""
    return Pooler(spec, nn.functional.relu)


TABLE = {
    "encoder.embeddings.piece": "distilbert.embeddings.word_embeddings",
    "encoder.embeddings.position": "distilbert.embeddings.position_embeddings",
    "encoder.embeddings.norm": "distilbert.embeddings.LayerNorm",
    "encoder.blocks.*.attention.query": "distilbert.transformer.layer.*.attention.q_lin",
    "encoder.blocks.*.attention.key": "distilbert.transformer.layer.*.attention.k_lin",
    "encoder.blocks.*.attention.value": "distilbert.transformer.layer.*.attention.v_lin",
    "encoder.blocks.*.attention.output": "distilbert.transformer.layer.*.attention.out_lin",
    "encoder.blocks.*.attention_norm": "distilbert.transformer.layer.*.sa_layer_norm",
    "encoder.blocks.*.feed_forward.up": "distilbert.transformer.layer.*.ffn.lin1",
    "encoder.blocks.*.feed_forward.down": "distilbert.transformer.layer.*.ffn.lin2",
    "encoder.blocks.*.feed_forward_norm": "distilbert.transformer.layer.*.output_layer_norm",
    "head.masked.transform": "vocab_transform",
    "head.masked.norm": "vocab_layer_norm",
    "head.masked": "vocab_projector",
    "head.pooler.dense": "pre_classifier",
    "head.classifier": "classifier",
    "head.span": "qa_outputs",
}

FAMILY = Family(
    name="distilbert",
    spec=spec,
    config=config,
    table=TABLE,
    prefix="distilbert.",
    traits=lambda pad, languages: {"segments": 0},
    copies=("embeddings.position_ids", "vocab_projector.weight"),
    heads={
        "masked-lm": HeadSpec("DistilBertForMaskedLM", {"masked": masked}),
        "text-classification": HeadSpec(
            "DistilBertForSequenceClassification", {"pooler": pooler, "classifier": each_label}
        ),
        "multiple-choice": HeadSpec(
            "DistilBertForMultipleChoice", {"pooler": pooler, "classifier": one_score}
        ),
        "token-classification": HeadSpec(
            "DistilBertForTokenClassification", {"classifier": each_label}
        ),
        "question-answering": HeadSpec("DistilBertForQuestionAnswering", {"span": two_scores}),
        "none": HeadSpec("DistilBertModel", {}, prefixed=False),
    },
    template=XLM,
    dropout=("dropout", "attention_dropout"),
)
