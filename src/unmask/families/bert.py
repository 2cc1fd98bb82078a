"""BERT: Devlin et al. 2019, https://arxiv.org/abs/1810.04805."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from unmask.contracts import Family, HeadSpec
from unmask.errors import UserError
from unmask.model.heads import Head, MaskedLM, Pooler
from unmask.model.names import Names
from unmask.model.spec import Activation, Spec

SIZES = {
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "layers": "num_hidden_layers",
    "pieces": "vocab_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
}
"""Our name of a size -> theirs."""

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Their name of an activation -> ours."""

ONLY = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
"""Settings that exist in one form here, with the value that is supposed where they are absent."""


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported."""
    for key, value in ONLY.items():
        if config.get(key, value) != value:
            raise UserError(f"{key} is {config[key]!r}; only {value!r} is supported")
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise UserError(f"hidden_act is {activation!r}; there are {', '.join(sorted(ACTIVATIONS))}")
    sizes: dict[str, Any] = {ours: config.get(theirs) for ours, theirs in SIZES.items()}
    for ours, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{SIZES[ours]} is {value!r}; it must be a whole number of at least 1")
    eps = config.get("layer_norm_eps", 1e-12)
    found = Spec(**sizes, activation=ACTIVATIONS[activation], eps=eps)
    if found.width % found.heads:
        raise UserError(
            f"hidden_size {found.width} is not a multiple of num_attention_heads {found.heads}"
        )
    return found


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    return {
        "model_type": "bert",
        **{theirs: getattr(spec, ours) for ours, theirs in SIZES.items()},
        "hidden_act": next(n for n, ours in ACTIVATIONS.items() if ours == spec.activation),
        "layer_norm_eps": spec.eps,
    }


def _pretraining(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    masked, pair = MaskedLM(spec, pieces), nn.Linear(spec.width, 2)
    return Head(masked=masked, pooler=Pooler(spec), pair=pair)


def _masked(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    return Head(masked=MaskedLM(spec, pieces))


def _sequences(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    return Head(pooler=Pooler(spec), classifier=nn.Linear(spec.width, labels))


def _tokens(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    return Head(classifier=nn.Linear(spec.width, labels))


def _spans(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    return Head(span=nn.Linear(spec.width, 2))


def _choices(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    return Head(pooler=Pooler(spec), classifier=nn.Linear(spec.width, 1))


def _pooler(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    return Head(pooler=Pooler(spec))


def _none(spec: Spec, pieces: nn.Embedding, labels: int) -> Head:
    return Head()


NAMES = Names(
    {
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
)

FAMILY = Family(
    name="bert",
    spec=spec,
    config=config,
    names=NAMES,
    prefix="bert.",
    copies=(
        "embeddings.position_ids",
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    ),
    heads={
        "pretraining": HeadSpec(architecture="BertForPreTraining", build=_pretraining),
        "masked-lm": HeadSpec(architecture="BertForMaskedLM", build=_masked),
        "text-classification": HeadSpec(
            architecture="BertForSequenceClassification", build=_sequences
        ),
        "multiple-choice": HeadSpec(architecture="BertForMultipleChoice", build=_choices),
        "token-classification": HeadSpec(architecture="BertForTokenClassification", build=_tokens),
        "question-answering": HeadSpec(architecture="BertForQuestionAnswering", build=_spans),
        "pooler": HeadSpec(architecture="BertModel", build=_pooler, prefixed=False),
        "none": HeadSpec(architecture="BertModel", build=_none, prefixed=False),
    },
)
