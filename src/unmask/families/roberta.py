"""RoBERTa: Liu et al. 2019, https://arxiv.org/abs/1907.11692."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from unmask.contracts import Family, HeadSpec
from unmask.families import bert
from unmask.model.heads import MaskedLM, each_label, one_score, pooler, two_scores
from unmask.model.spec import Spec
from unmask.text.template import ROBERTA


def spec(config: Mapping[str, Any]) -> Spec:
    """Read the structure from a config.json. Raises UserError for what is not supported.

    Positions are counted from behind the id of the pad token, and the table has rows for that.
    """
    found = bert.SETTINGS.read(config)
    start = config.get("pad_token_id", 1) + 1
    return Spec(**found | {"positions": found["positions"] - start, "position_start": start})


def config(spec: Spec, model_type: str) -> dict[str, Any]:
    """Write the structure as a config.json has it."""
    return {
        "model_type": model_type,
        **bert.SETTINGS.write(spec),
        "max_position_embeddings": spec.longest + spec.position_start,
        "pad_token_id": spec.position_start - 1,
    }


def masked(spec: Spec, pieces: nn.Embedding, labels: int) -> MaskedLM:
    """Predict hidden tokens as BERT does, but whatever the encoder's activation is, by GELU."""
    return MaskedLM(spec, pieces, "gelu")


TABLE = {ours: theirs.replace("bert.", "roberta.", 1) for ours, theirs in bert.TABLE.items()} | {
    "head.masked.transform": "lm_head.dense",
    "head.masked.norm": "lm_head.layer_norm",
    "head.masked": "lm_head",
}
OF_TEXTS = {"head.pooler.dense": "classifier.dense", "head.classifier": "classifier.out_proj"}


def family(model_type: str, kind: str) -> Family:
    """Make the family whose classes in `transformers` begin with `kind`."""
    return Family(
        name=model_type,
        spec=spec,
        config=partial(config, model_type=model_type),
        table=TABLE,
        prefix="roberta.",
        traits=lambda pad, languages: {"segments": 1, "position_start": pad + 1, "eps": 1e-5},
        copies=("embeddings.position_ids", "lm_head.decoder.*"),
        heads={
            "masked-lm": HeadSpec(f"{kind}ForMaskedLM", {"masked": masked}),
            "text-classification": HeadSpec(
                f"{kind}ForSequenceClassification",
                {"pooler": pooler, "classifier": each_label},
                OF_TEXTS,
            ),
            "multiple-choice": HeadSpec(
                f"{kind}ForMultipleChoice", {"pooler": pooler, "classifier": one_score}
            ),
            "token-classification": HeadSpec(
                f"{kind}ForTokenClassification", {"classifier": each_label}
            ),
            "question-answering": HeadSpec(f"{kind}ForQuestionAnswering", {"span": two_scores}),
            "pooler": HeadSpec(f"{kind}Model", {"pooler": pooler}, prefixed=False),
            "none": HeadSpec(f"{kind}Model", {}, prefixed=False),
        },
        template=ROBERTA,
    )


FAMILY = family("roberta", "Roberta")
