"""BERT as encoder and decoder: its config.json, its loss, and how it is made of two checkpoints."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional as F
from transformers import EncoderDecoderModel

import tiny
from parity import STRUCTURES, TOLERANCE, alone, batch, copied, own, peer
from unmask import cli
from unmask.errors import UserError
from unmask.exchange.huggingface import read, write
from unmask.exchange.warm_start import encoder_decoder
from unmask.families.encoder_decoder import FAMILY
from unmask.families.gpt2 import FAMILY as GPT2
from unmask.predict.model import Model
from unmask.train.finetuning import dropout_of

SPEC = STRUCTURES["encoder-decoder"]["alike"]
CONFIG = FAMILY.config(SPEC)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


@pytest.mark.parametrize(
    ("part", "setting", "told"),
    [
        ("decoder", {"add_cross_attention": False}, "add_cross_attention is False.*no cross-att"),
        ("decoder", {"is_decoder": None}, "decoder: is_decoder is None"),
        ("decoder", {"model_type": "gpt2"}, "decoder: model_type is 'gpt2'; only 'bert'"),
        ("encoder", {"model_type": "roberta"}, "encoder: model_type is 'roberta'"),
        ("encoder", {"hidden_act": "silu"}, "encoder: hidden_act is 'silu'"),
        ("encoder", {"add_cross_attention": True}, "encoder: add_cross_attention is True"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    part: str, setting: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        FAMILY.spec({**CONFIG, part: {**CONFIG[part], **setting}})


def test_both_parts_must_be_there() -> None:
    with pytest.raises(UserError, match="encoder is None; it must hold the settings of a BERT"):
        FAMILY.spec({"decoder": CONFIG["decoder"]})


def test_a_checkpoint_without_cross_attention_is_refused(tmp_path: Path) -> None:
    made = own(FAMILY, "seq2seq-lm", SPEC)
    state = {n: t for n, t in made.network.state_dict().items() if ".cross" not in n}
    assert len(state) < len(made.network.state_dict())
    write(made, tmp_path)
    names = FAMILY.names(SPEC, "seq2seq-lm")
    from_safetensors = {n: t.contiguous() for n, t in names.theirs(state).items()}
    torch.save(from_safetensors, tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"2 x decoder\.\S+crossattention\..* Model\.from_enc"):
        read(tmp_path)


@torch.no_grad()
def test_the_loss_is_that_of_transformers() -> None:
    model, made = peer(FAMILY, "seq2seq-lm", SPEC), own(FAMILY, "seq2seq-lm", SPEC)
    copied(made, model)
    one = alone(batch(SPEC), 1)
    one = replace(one, segments=None)
    assert one.source is not None
    labels = torch.cat([one.ids[1:], torch.tensor([3])])
    model.config.decoder_start_token_id, model.config.pad_token_id = int(one.ids[0]), 0
    with pytest.warns(FutureWarning):
        wanted = model(
            input_ids=one.source.ids[None],
            token_type_ids=one.source.segments[None],
            labels=labels[None],
        ).loss
    assert made.network.head.following is not None
    hidden = made.network(one)
    part = made.network.head.following.loss(hidden, labels)
    assert float(part.total / len(labels)) == pytest.approx(float(wanted), abs=TOLERANCE)
    smooth = made.network.head.following.loss(hidden, labels, 0.1)
    scores = made.network.head.following(hidden)
    theirs = F.cross_entropy(scores, labels, reduction="sum", label_smoothing=0.1)
    assert float(smooth.total) == pytest.approx(float(theirs), rel=1e-5)
    shifted = made.network.head.following.loss(hidden, labels.roll(1))
    assert float(shifted.total / len(labels)) != pytest.approx(float(wanted), abs=0.1)


@torch.no_grad()
def test_a_target_depends_on_its_own_source_only() -> None:
    made, tokens = own(FAMILY, "seq2seq-lm", SPEC), batch(SPEC)
    assert tokens.source is not None
    ids = tokens.source.ids.clone()
    ids[4] = (ids[4] + 1) % SPEC.pieces  # of the second source
    changed = replace(tokens, source=replace(tokens.source, ids=ids))
    parts = [made.network(one).split(tokens.layout.lengths) for one in (tokens, changed)]
    same = [torch.allclose(a, b, atol=TOLERANCE) for a, b in zip(*parts, strict=True)]
    assert same == [number != 1 for number in range(len(same))]


def checkpoints(folder: Path, head: str = "pretraining") -> tuple[Path, Path]:
    """Save two BERTs of one vocabulary, whose weights differ."""
    words = tiny.tokenizer()
    first, second = tiny.pretrained(words, head), tiny.pretrained(words, head, positions=24)
    with torch.no_grad():
        for parameter in second.network.parameters():
            parameter.mul_(0.9)
    write(first, folder / "first")
    write(second, folder / "second")
    return folder / "first", folder / "second"


@torch.no_grad()
def test_a_warm_start_is_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = checkpoints(tmp_path)
    model = Model.from_encoder_decoder(first, second)
    said = capsys.readouterr().err
    assert "2 x decoder.bert.encoder.layer.*.crossattention.self.query.weight" in said
    assert "to be trained: 20 tensors, 2,240 parameters" in said
    assert "cls" not in said
    model.save_pretrained(tmp_path / "both")
    theirs = EncoderDecoderModel.from_encoder_decoder_pretrained(first, second)
    opened = EncoderDecoderModel.from_pretrained(tmp_path / "both").state_dict()
    for name, tensor in theirs.state_dict().items():
        if "crossattention" not in name:
            assert torch.equal(opened[name], tensor), name
        elif name.endswith("dense.weight"):
            assert not torch.equal(opened[name], tensor), name
    again = Model.from_pretrained(tmp_path / "both")
    assert "crossattention" not in capsys.readouterr().err
    assert again.network.encoder.source is not None


def test_a_decoder_without_a_head_gets_one_which_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = checkpoints(tmp_path, "pooler")
    Model.from_encoder_decoder(first)
    said = capsys.readouterr().err
    assert "decoder.cls.predictions.bias" in said
    assert "decoder.cls.predictions.transform.dense.weight" in said
    assert "encoder.pooler" not in said


def test_a_warm_start_follows_the_seed_and_shares_nothing() -> None:
    made = tiny.pretrained(tiny.tokenizer())
    same, again, other = (
        encoder_decoder(made, made, torch.Generator().manual_seed(seed))[0].network
        for seed in (1, 1, 2)
    )
    name = "encoder.blocks.0.cross.query.weight"
    assert torch.equal(same.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(same.state_dict()[name], other.state_dict()[name])
    assert same.encoder.source is not None
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.zero_()
    assert same.encoder.embeddings.piece.weight.any()
    assert same.encoder.source.embeddings.piece.weight.any()


def test_dropout_is_that_of_the_checkpoints(tmp_path: Path) -> None:
    made = tiny.pretrained(tiny.tokenizer())
    first, second = (
        replace(made, config={"hidden_dropout_prob": rate, "vocab_size": 3}) for rate in (0.3, 0.0)
    )
    both, _ = encoder_decoder(first, second, torch.Generator())
    write(both, tmp_path)
    again = read(tmp_path)
    assert again.config["encoder"]["hidden_dropout_prob"] == 0.3
    assert again.config["decoder"]["hidden_dropout_prob"] == 0.0
    assert dropout_of(again, None) == dropout_of(both, None) == 0.0
    assert dropout_of(again, 0.2) == 0.2


def test_what_does_not_go_together_is_refused() -> None:
    made, generator = tiny.pretrained(tiny.tokenizer()), torch.Generator()
    gpt2 = own(GPT2, "causal-lm", STRUCTURES["gpt2"]["plain"])
    with pytest.raises(UserError, match="the decoder is a gpt2; only BERT can be one"):
        encoder_decoder(made, gpt2, generator)
    words = tiny.tokenizer()
    words.__dict__["fingerprint"] = "another"
    with pytest.raises(UserError, match="different vocabularies"):
        encoder_decoder(made, replace(made, tokenizer=words), generator)


def test_what_is_saved_says_how_texts_begin_and_end(tmp_path: Path) -> None:
    write(own(FAMILY, "seq2seq-lm", SPEC), tmp_path / "bare")
    words = tiny.tokenizer()
    made = tiny.pretrained(words)
    both, _ = encoder_decoder(made, made, torch.Generator())
    write(both, tmp_path / "made")
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    told = {name: config[name] for name in ("decoder_start_token_id", "eos_token_id")}
    assert told == {"decoder_start_token_id": words.cls, "eos_token_id": words.sep}
    bare = json.loads((tmp_path / "bare" / "config.json").read_text())
    assert "decoder_start_token_id" not in bare


def test_inspection_counts_both_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tiny.pretrained(tiny.tokenizer())
    both, _ = encoder_decoder(made, made, torch.Generator())
    write(both, tmp_path)
    assert cli.main(["inspect", "--model", str(tmp_path), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["parameters"]
    parts = [counts[name] for name in ("source", "embeddings", "layers", "heads")]
    assert sum(parts) == counts["total"] == sum(p.numel() for p in both.network.parameters())
    assert cli.main(["inspect", "--model", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("encoder of the source"))
    assert line.split()[-1] == f"{counts['source']:,}"
    assert "of which the encoder" not in said
    assert "# An encoder-decoder" in (tmp_path / "README.md").read_text()


def test_no_recipe_makes_one() -> None:
    with pytest.raises(UserError, match="an encoder-decoder has no recipe"):
        FAMILY.traits(0, 0)
