"""BERT: Devlin et al. 2019, https://arxiv.org/abs/1810.04805."""

from collections.abc import Mapping
from typing import Any

from unmask.contracts import Family, HeadSpec
from unmask.model.heads import each_label, masked, one_score, pooler, two_scores
from unmask.model.settings import Settings
from unmask.model.spec import Spec
from unmask.text.template import BERT

SETTINGS = Settings(
    sizes={
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "inner": "intermediate_size",
        "layers": "num_hidden_layers",
        "pieces": "vocab_size",
        "positions": "max_position_embeddings",
        "segments": "type_vocab_size",
    },
    activation="hidden_act",
    eps="layer_norm_eps",
    only={
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
)


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported.

    A decoder is a BERT whose tokens see nothing ahead; one with cross-attention is half of a model
    of the family `encoder-decoder`.
    """
    causal = bool(config.get("is_decoder", False))
    return Spec(**SETTINGS.read({**config, "is_decoder": False}), causal=causal)


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    decoder = {"is_decoder": True} if spec.causal else {}
    return {"model_type": "bert", **SETTINGS.write(spec), **decoder}


TABLE = {
    "encoder.embeddings.piece": "bert.embeddings.word_embeddings",
    "encoder.embeddings.position": "bert.embeddings.position_embeddings",
    "encoder.embeddings.segment": "bert.embeddings.token_type_embeddings",
    "encoder.embeddings.norm": "bert.embeddings.LayerNorm",
    "encoder.blocks.*.attention.query": "bert.encoder.layer.*.attention.self.query",
    "encoder.blocks.*.attention.key": "bert.encoder.layer.*.attention.self.key",
    "encoder.blocks.*.attention.value": "bert.encoder.layer.*.attention.self.value",
    "encoder.blocks.*.attention.output": "bert.encoder.layer.*.attention.output.dense",
    "encoder.blocks.*.attention_norm": "bert.encoder.layer.*.attention.output.LayerNorm",
    "encoder.blocks.*.feed_forward.up": "bert.encoder.layer.*.intermediate.dense",
    "encoder.blocks.*.feed_forward.down": "bert.encoder.layer.*.output.dense",
    "encoder.blocks.*.feed_forward_norm": "bert.encoder.layer.*.output.LayerNorm",
    "head.pooler.dense": "bert.pooler.dense",
    "head.masked.transform": "cls.predictions.transform.dense",
    "head.masked.norm": "cls.predictions.transform.LayerNorm",
    "head.masked": "cls.predictions",
    "head.pair": "cls.seq_relationship",
    "head.classifier": "classifier",
    "head.span": "qa_outputs",
}

FAMILY = Family(
    name="bert",
    spec=spec,
    config=config,
    table=TABLE,
    prefix="bert.",
    traits=lambda pad, languages: {"segments": 2},
    copies=(
        "embeddings.position_ids",
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    ),
    heads={
        "pretraining": HeadSpec(
            "BertForPreTraining", {"masked": masked, "pooler": pooler, "pair": two_scores}
        ),
        "masked-lm": HeadSpec("BertForMaskedLM", {"masked": masked}),
        "causal-lm": HeadSpec(
            "BertLMHeadModel",
            {"following": masked},
            {
                "head.following.transform": "cls.predictions.transform.dense",
                "head.following.norm": "cls.predictions.transform.LayerNorm",
                "head.following": "cls.predictions",
            },
            causal=True,
        ),
        "text-classification": HeadSpec(
            "BertForSequenceClassification", {"pooler": pooler, "classifier": each_label}
        ),
        "multiple-choice": HeadSpec(
            "BertForMultipleChoice", {"pooler": pooler, "classifier": one_score}
        ),
        "token-classification": HeadSpec("BertForTokenClassification", {"classifier": each_label}),
        "question-answering": HeadSpec("BertForQuestionAnswering", {"span": two_scores}),
        "pooler": HeadSpec("BertModel", {"pooler": pooler}, prefixed=False),
        "none": HeadSpec("BertModel", {}, prefixed=False),
    },
    template=BERT,
)
