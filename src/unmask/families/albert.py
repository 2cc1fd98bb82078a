"""ALBERT: Lan et al. 2020, https://arxiv.org/abs/1909.11942."""

from collections.abc import Mapping
from typing import Any

from unmask.contracts import Family, HeadSpec
from unmask.errors import UserError
from unmask.model.heads import each_label, masked, one_score, pooler, two_scores
from unmask.model.settings import Settings
from unmask.model.spec import Spec
from unmask.text.template import BERT

SETTINGS = Settings(
    sizes={
        "width": "hidden_size",
        "embedding_width": "embedding_size",
        "heads": "num_attention_heads",
        "inner": "intermediate_size",
        "layers": "num_hidden_layers",
        "pieces": "vocab_size",
        "positions": "max_position_embeddings",
        "segments": "type_vocab_size",
    },
    activation="hidden_act",
    eps="layer_norm_eps",
    defaults={"hidden_act": "gelu_new"},
    only={"position_embedding_type": "absolute", "tie_word_embeddings": True},
)


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported.

    Neighbouring layers form groups of the same weights; such a layer may be several blocks.
    """
    found = SETTINGS.read(config)
    layers, groups = found["layers"], config.get("num_hidden_groups", 1)
    inner = config.get("inner_group_num", 1)
    if not 1 <= groups <= layers:
        raise UserError(f"num_hidden_groups is {groups}; there are {layers} layers to be grouped")
    if inner < 1 or (inner > 1 and groups == layers):
        raise UserError(
            f"inner_group_num is {inner}; it must be at least 1, and 1 where layers share nothing"
        )
    schedule = tuple(
        layer * groups // layers * inner + block
        for layer in range(layers)
        for block in range(inner)
    )
    return Spec(**found | {"layers": len(schedule)}, schedule=schedule)


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    inner = _inner(spec)
    return {
        "model_type": "albert",
        **SETTINGS.write(spec),
        "num_hidden_layers": spec.layers // inner,
        "num_hidden_groups": spec.blocks // inner,
        "inner_group_num": inner,
    }


def blocks(spec: Spec) -> list[str]:
    """Name a block by its group and its number in that."""
    inner = _inner(spec)
    return [f"{block // inner}.albert_layers.{block % inner}" for block in range(spec.blocks)]


def _inner(spec: Spec) -> int:
    """Count the blocks of a layer: after so many the first block comes again."""
    schedule = spec.schedule or ()
    return schedule.index(0, 1) if schedule.count(0) > 1 else 1


TABLE = {
    "encoder.embeddings.piece": "albert.embeddings.word_embeddings",
    "encoder.embeddings.position": "albert.embeddings.position_embeddings",
    "encoder.embeddings.segment": "albert.embeddings.token_type_embeddings",
    "encoder.embeddings.norm": "albert.embeddings.LayerNorm",
    "encoder.embeddings.projection": "albert.encoder.embedding_hidden_mapping_in",
    "head.pooler.dense": "albert.pooler",
    "head.masked.transform": "predictions.dense",
    "head.masked.norm": "predictions.LayerNorm",
    "head.masked": "predictions",
    "head.pair": "sop_classifier.classifier",
    "head.classifier": "classifier",
    "head.span": "qa_outputs",
} | {
    f"encoder.blocks.*.{ours}": f"albert.encoder.albert_layer_groups.*.{theirs}"
    for ours, theirs in {
        "attention.query": "attention.query",
        "attention.key": "attention.key",
        "attention.value": "attention.value",
        "attention.output": "attention.dense",
        "attention_norm": "attention.LayerNorm",
        "feed_forward.up": "ffn",
        "feed_forward.down": "ffn_output",
        "feed_forward_norm": "full_layer_layer_norm",
    }.items()
}

FAMILY = Family(
    name="albert",
    spec=spec,
    config=config,
    table=TABLE,
    blocks=blocks,
    prefix="albert.",
    traits=lambda pad, languages: {"segments": 2},
    copies=("embeddings.position_ids", "predictions.decoder.*"),
    heads={
        "pretraining": HeadSpec(
            "AlbertForPreTraining", {"masked": masked, "pooler": pooler, "pair": two_scores}
        ),
        "masked-lm": HeadSpec("AlbertForMaskedLM", {"masked": masked}),
        "text-classification": HeadSpec(
            "AlbertForSequenceClassification", {"pooler": pooler, "classifier": each_label}
        ),
        "multiple-choice": HeadSpec(
            "AlbertForMultipleChoice", {"pooler": pooler, "classifier": one_score}
        ),
        "token-classification": HeadSpec(
            "AlbertForTokenClassification", {"classifier": each_label}
        ),
        "question-answering": HeadSpec("AlbertForQuestionAnswering", {"span": two_scores}),
        "pooler": HeadSpec("AlbertModel", {"pooler": pooler}, prefixed=False),
        "none": HeadSpec("AlbertModel", {}, prefixed=False),
    },
    template=BERT,
)
