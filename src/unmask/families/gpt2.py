"""GPT-2: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from unmask.contracts import Family, HeadSpec
from unmask.model.heads import Decoder, each_label, two_scores
from unmask.model.names import Form
from unmask.model.settings import Settings
from unmask.model.spec import Spec
from unmask.text.template import GPT2

SETTINGS = Settings(
    sizes={
        "width": "n_embd",
        "heads": "n_head",
        "inner": "n_inner",
        "layers": "n_layer",
        "pieces": "vocab_size",
        "positions": "n_positions",
    },
    activation="activation_function",
    eps="layer_norm_epsilon",
    defaults={"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
    only={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
)

TRAITS: Mapping[str, Any] = {
    "segments": 0,
    "embedding_norm": False,
    "norm_first": True,
    "final_norm": True,
    "causal": True,
}


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported."""
    inner = config.get("n_inner") or 4 * (config.get("n_embd") or 0)
    return Spec(**SETTINGS.read({**config, "n_inner": inner}), **TRAITS)


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    return {"model_type": "gpt2", **SETTINGS.write(spec)}


def following(spec: Spec, pieces: nn.Embedding, labels: int) -> Decoder:
    """Predict the next token, without a bias."""
    return Decoder(pieces, bias=False)


def score(spec: Spec, pieces: nn.Embedding, labels: int) -> nn.Linear:
    """Give a score to each label, without a bias."""
    return nn.Linear(spec.width, labels, bias=False)


def forms(spec: Spec) -> list[Form]:
    """Name what is transposed in checkpoints, and what is fused."""
    fused = "query", "key", "value"
    single = {
        "attention.output": "attn.c_proj",
        "feed_forward.up": "mlp.c_fc",
        "feed_forward.down": "mlp.c_proj",
    }
    return [
        Form(
            tuple(f"encoder.blocks.*.attention.{name}.weight" for name in fused),
            "transformer.h.*.attn.c_attn.weight",
            lambda theirs: theirs.T.chunk(3),
            lambda ours: torch.cat(list(ours)).T,
        ),
        Form(
            tuple(f"encoder.blocks.*.attention.{name}.bias" for name in fused),
            "transformer.h.*.attn.c_attn.bias",
            lambda theirs: theirs.chunk(3),
            lambda ours: torch.cat(list(ours)),
        ),
        *(
            Form(
                (f"encoder.blocks.*.{ours}.weight",),
                f"transformer.h.*.{theirs}.weight",
                lambda theirs: [theirs.T],
                lambda ours: ours[0].T,
            )
            for ours, theirs in single.items()
        ),
    ]


TABLE = {
    "encoder.embeddings.piece": "transformer.wte",
    "encoder.embeddings.position": "transformer.wpe",
    "encoder.blocks.*.attention_norm": "transformer.h.*.ln_1",
    "encoder.blocks.*.attention.output": "transformer.h.*.attn.c_proj",
    "encoder.blocks.*.feed_forward_norm": "transformer.h.*.ln_2",
    "encoder.blocks.*.feed_forward.up": "transformer.h.*.mlp.c_fc",
    "encoder.blocks.*.feed_forward.down": "transformer.h.*.mlp.c_proj",
    "encoder.norm": "transformer.ln_f",
    "head.classifier": "classifier",
    "head.span": "qa_outputs",
}

FAMILY = Family(
    name="gpt2",
    spec=spec,
    config=config,
    table=TABLE,
    forms=forms,
    prefix="transformer.",
    traits=lambda pad, languages: {**TRAITS, "eps": 1e-5},
    copies=("h.*.attn.bias", "h.*.attn.masked_bias", "lm_head.weight"),
    heads={
        "causal-lm": HeadSpec("GPT2LMHeadModel", {"following": following}),
        "text-classification": HeadSpec(
            "GPT2ForSequenceClassification", {"classifier": score}, {"head.classifier": "score"}
        ),
        "token-classification": HeadSpec("GPT2ForTokenClassification", {"classifier": each_label}),
        "question-answering": HeadSpec("GPT2ForQuestionAnswering", {"span": two_scores}),
        "none": HeadSpec("GPT2Model", {}, prefixed=False),
    },
    template=GPT2,
    dropout=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
)
