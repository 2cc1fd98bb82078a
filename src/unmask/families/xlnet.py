"""XLNet: Yang et al. 2019, https://arxiv.org/abs/1906.08237."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from unmask.contracts import Family, HeadSpec
from unmask.errors import UserError
from unmask.model.heads import Decoder, each_label, one_score, pooler, two_scores
from unmask.model.names import Form
from unmask.model.settings import Settings
from unmask.model.spec import Spec
from unmask.text.template import XLNET

SETTINGS = Settings(
    sizes={
        "width": "d_model",
        "heads": "n_head",
        "inner": "d_inner",
        "layers": "n_layer",
        "pieces": "vocab_size",
    },
    activation="ff_activation",
    eps="layer_norm_eps",
    only={
        "attn_type": "bi",
        "bi_data": False,
        "clamp_len": -1,
        "same_length": False,
        "untie_r": True,
        "summary_type": "last",
        "summary_use_proj": True,
        "summary_activation": "tanh",
        "summary_proj_to_labels": False,
        "tie_word_embeddings": True,
    },
)

TRAITS: Mapping[str, Any] = {
    "positions": None,
    "segments": 0,
    "embedding_norm": False,
    "attention_bias": False,
    "scores": "transformer-xl",
    "two_streams": True,
}


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported."""
    found = SETTINGS.read(config)
    if config.get("d_head") not in (None, each := found["width"] // found["heads"]):
        raise UserError(
            f"d_head is {config['d_head']}; only {each}, d_model / n_head, is supported"
        )
    return Spec(**found, **TRAITS)


def config(spec: Spec) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    return {"model_type": "xlnet", **SETTINGS.write(spec), "d_head": spec.width // spec.heads}


def following(spec: Spec, pieces: nn.Embedding, labels: int) -> Decoder:
    """Predict the token that is next in the order of ranks."""
    return Decoder(pieces)


def forms(spec: Spec) -> list[Form]:
    """Name what checkpoints hold head by head."""
    heads = spec.heads, spec.width // spec.heads

    def transposed(theirs: Tensor) -> Sequence[Tensor]:
        """Join the heads, and turn the matrix as ours is."""
        return [theirs.flatten(1).T]  # (W, H, D) -> (W, W)

    inputs = {"query": "q", "key": "k", "value": "v", "scores.distance": "r"}
    return [
        *(
            Form(
                (f"encoder.blocks.*.attention.{ours}.weight",),
                f"transformer.layer.*.rel_attn.{theirs}",
                transposed,
                lambda ours: ours[0].T.reshape(-1, *heads),  # (W, W) -> (W, H, D)
            )
            for ours, theirs in inputs.items()
        ),
        Form(
            ("encoder.blocks.*.attention.output.weight",),
            "transformer.layer.*.rel_attn.o",
            lambda theirs: [theirs.flatten(1)],  # (W, H, D) -> (W, W)
            lambda ours: ours[0].reshape(-1, *heads),  # (W, W) -> (W, H, D)
        ),
        Form(
            ("encoder.embeddings.unseen",),
            "transformer.mask_emb",
            lambda theirs: [theirs.flatten()],  # (1, 1, W) -> (W,)
            lambda ours: ours[0][None, None],  # (W,) -> (1, 1, W)
        ),
    ]


TABLE = {
    "encoder.embeddings.piece": "transformer.word_embedding",
    "encoder.blocks.*.attention.scores.for_content": "transformer.layer.*.rel_attn.r_w_bias",
    "encoder.blocks.*.attention.scores.for_distance": "transformer.layer.*.rel_attn.r_r_bias",
    "encoder.blocks.*.attention.scores.for_segment": "transformer.layer.*.rel_attn.r_s_bias",
    "encoder.blocks.*.attention.scores.segments": "transformer.layer.*.rel_attn.seg_embed",
    "encoder.blocks.*.attention_norm": "transformer.layer.*.rel_attn.layer_norm",
    "encoder.blocks.*.feed_forward.up": "transformer.layer.*.ff.layer_1",
    "encoder.blocks.*.feed_forward.down": "transformer.layer.*.ff.layer_2",
    "encoder.blocks.*.feed_forward_norm": "transformer.layer.*.ff.layer_norm",
    "head.following": "lm_loss",
    "head.pooler.dense": "sequence_summary.summary",
    "head.classifier": "logits_proj",
    "head.span": "qa_outputs",
}

FAMILY = Family(
    name="xlnet",
    spec=spec,
    config=config,
    table=TABLE,
    forms=forms,
    prefix="transformer.",
    traits=lambda pad, languages: TRAITS,
    copies=("lm_loss.weight",),
    heads={
        "permutation-lm": HeadSpec("XLNetLMHeadModel", {"following": following}),
        "text-classification": HeadSpec(
            "XLNetForSequenceClassification", {"pooler": pooler, "classifier": each_label}
        ),
        "multiple-choice": HeadSpec(
            "XLNetForMultipleChoice", {"pooler": pooler, "classifier": one_score}
        ),
        "token-classification": HeadSpec(
            "XLNetForTokenClassification",
            {"classifier": each_label},
            {"head.classifier": "classifier"},
        ),
        "question-answering": HeadSpec("XLNetForQuestionAnsweringSimple", {"span": two_scores}),
        "none": HeadSpec("XLNetModel", {}, prefixed=False),
    },
    template=XLNET,
    dropout=("dropout",),
)
