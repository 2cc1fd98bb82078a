"""`Model.generate` and the verb `generate`: texts in, texts out, as transformers' pipeline does."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import tiny
from parity import GPT2, PAPER, strengthen
from unmask import Model, UserError, cli, train_tokenizer
from unmask.contracts import Family
from unmask.exchange.huggingface import Pretrained, write
from unmask.exchange.warm_start import encoder_decoder
from unmask.families.bert import FAMILY as BERT
from unmask.families.gpt2 import FAMILY as DECODER
from unmask.families.transformer import FAMILY as ORIGINAL
from unmask.model.spec import Spec
from unmask.predict import writing
from unmask.predict.predict import predict
from unmask.text.tokenizer import Tokenizer
from unmask.tokens import Layout, Tokens

TEXTS = ["The old dog", "Two foxes run away. The", "dig"]
SENTENCES = (
    "The old dog sleeps. Two foxes run away. The zoo is old.\n\nFoxes dig. The dog digs, too."
)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()


def pretrained(family: Family, head: str, spec: Spec, words: Tokenizer) -> Pretrained:
    network = family.network(spec, head).eval()
    strengthen(network)
    words = words.with_template(family.template)
    return Pretrained(family=family, spec=spec, network=network, head=head, tokenizer=words)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a GPT-2 of 40 positions that knows bytes and some words."""
    folder = tmp_path_factory.mktemp("gpt2")
    (folder / "a.txt").write_text(SENTENCES)
    train_tokenizer([str(folder / "a.txt")], out=folder / "words", kind="byte-bpe", vocab_size=320)
    words = Tokenizer.load(folder / "words")
    spec = replace(GPT2, positions=40, pieces=words.vocab_size)
    write(pretrained(DECODER, "causal-lm", spec, words), folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def berts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two BERTs of 32 positions, one as encoder and one as decoder."""
    folder = tmp_path_factory.mktemp("berts")
    made = tiny.pretrained(tiny.tokenizer())
    both, _ = encoder_decoder(made, made, torch.Generator())
    strengthen(both.network)
    write(both, folder)
    return folder


def test_gpt2_writes_what_the_pipeline_does(gpt2: Path) -> None:
    model = Model.from_pretrained(gpt2)
    pipeline = transformers.pipeline("text-generation", str(gpt2))
    for settings in (
        {"max_new_tokens": 9, "do_sample": False},
        {"max_new_tokens": 6, "num_beams": 3, "num_return_sequences": 2, "do_sample": False},
    ):
        theirs = [pipeline(text, **settings) for text in TEXTS]
        ours: list[Any] = model.generate(TEXTS, **settings)
        if settings.get("num_return_sequences", 1) == 1:
            ours = [[one] for one in ours]
        assert ours == theirs
    new = model.generate(TEXTS, max_new_tokens=9, return_full_text=False)
    old = model.generate(TEXTS, max_new_tokens=9)
    assert [text + one["generated_text"] for text, one in zip(TEXTS, new, strict=True)] == [
        one["generated_text"] for one in old
    ]
    assert all(one["generated_text"] for one in new)


def test_two_berts_write_what_transformers_does(berts: Path) -> None:
    model = Model.from_pretrained(berts)
    theirs = transformers.EncoderDecoderModel.from_pretrained(berts)
    words = transformers.AutoTokenizer.from_pretrained(berts)
    texts = tiny.SENTENCES[:3]
    ours = model.generate(texts, max_new_tokens=8, num_beams=4, num_return_sequences=3)
    for text, found in zip(texts, ours, strict=True):
        inputs = words(text, return_tensors="pt")
        out = theirs.generate(  # which finds start and end in config.json
            **inputs, max_new_tokens=8, num_beams=4, num_return_sequences=3, do_sample=False
        )
        wanted = words.batch_decode(out, skip_special_tokens=True)
        assert [one["generated_text"] for one in found] == wanted
    assert len({one["generated_text"] for found in ours for one in found}) > 3


def original(words: Tokenizer, positions: int | None) -> Model:
    source = replace(PAPER, pieces=words.vocab_size, positions=positions)
    spec = replace(source, causal=True, source=source, shared=True)
    return Model(pretrained(ORIGINAL, "seq2seq-lm", spec, words))


def test_the_original_writes_and_is_told_apart(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    original(words, 32).save_pretrained(tmp_path)
    model = Model.from_pretrained(tmp_path)
    (found,) = model.generate(tiny.SENTENCES[:1], max_new_tokens=4)
    read = torch.from_numpy(words.lay(words.encode(tiny.SENTENCES[0]).ids).ids).long()
    ids, following = [words.ids["cls"]], model.network.head.following
    assert following is not None
    for _ in range(4):
        source = Tokens(read, Layout.of([len(read)]))
        laid = Tokens(torch.tensor(ids), Layout.of([len(ids)]), source=source)
        ids.append(int(following(model.network(laid))[-1].argmax()))
    assert found == {"generated_text": words.decode(ids[1:])}
    assert model.embed(["the dog"]).shape == (1, model.width)


def test_a_bert_goes_on_from_its_beginning_without_its_end() -> None:
    words = tiny.tokenizer()
    spec = replace(tiny.pretrained(words).spec, causal=True)
    model = Model(pretrained(BERT, "causal-lm", spec, words))
    (found,) = model.generate(["the lazy dog"], max_new_tokens=5)
    assert found["generated_text"].startswith("the lazy dog")
    ids = [words.ids["cls"], *words.encode("the lazy dog").ids]
    theirs = transformers.BertLMHeadModel(
        transformers.BertConfig(**{k: v for k, v in BERT.config(spec).items() if k != "model_type"})
    ).eval()
    names = BERT.names(spec, "causal-lm").theirs(model.network.state_dict())
    theirs.load_state_dict(names, strict=False)
    out = theirs.generate(
        torch.tensor([ids]),
        max_new_tokens=5,
        do_sample=False,
        eos_token_id=words.sep,
        pad_token_id=words.pad,
    )
    special = set(words.special.tolist())
    kept = [token for token in out[0].tolist() if token not in special]
    assert found["generated_text"] == words.decode(kept)


def test_an_end_of_ones_own_is_a_piece_of_the_vocabulary(berts: Path) -> None:
    model = Model.from_pretrained(berts)
    (plain,) = model.generate(tiny.SENTENCES[:1], max_new_tokens=8)
    assert plain["generated_text"].startswith("##zz )")
    (stopped,) = model.generate(tiny.SENTENCES[:1], max_new_tokens=8, stop=(")",))
    assert stopped["generated_text"] == "##zz )"
    with pytest.raises(UserError, match="stop 'nonsense' is no entry of the vocabulary"):
        model.generate(["The"], stop=("nonsense",))


def test_texts_too_long_are_refused_or_cut(gpt2: Path, berts: Path) -> None:
    decoder, both = Model.from_pretrained(gpt2), Model.from_pretrained(berts)
    long = "The old dog. " * 20
    count = len(decoder.tokenizer.encode_batch([long])[0])
    with pytest.raises(
        UserError, match=f"text 2: {count} tokens and 5 new ones are more than the 40"
    ):
        decoder.generate(["The", long], max_new_tokens=5)
    with pytest.raises(UserError, match=r"text 1: \d tokens and 40 new ones are more than the 40"):
        decoder.generate(["dig"], max_new_tokens=40)
    (cut,) = decoder.generate([long], max_new_tokens=5, truncate=True, return_full_text=False)
    tail = decoder.tokenizer.decode(decoder.tokenizer.encode_batch([long])[0][-35:])
    (wanted,) = decoder.generate([tail], max_new_tokens=5, return_full_text=False)
    assert cut == wanted
    source = "the lazy dog " * 20
    with pytest.raises(UserError, match="text 1: a source of 62 tokens is longer than the 32 that"):
        both.generate([source])
    assert both.generate([source], truncate=True) == both.generate(["the lazy dog " * 10])
    with pytest.raises(UserError, match="max_new_tokens is 32; the decoder has places for 31"):
        both.generate(["the dog"], max_new_tokens=32)


def test_an_empty_text_goes_on_from_the_end_of_another(
    gpt2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.from_pretrained(gpt2)
    (found,) = model.generate([""], max_new_tokens=4, stop=())
    for stop in (None, ("d",), ("1",)):  # what ends a text does not change how it begins
        (other,) = model.generate([""], max_new_tokens=4, stop=stop)
        assert found["generated_text"].startswith(other["generated_text"])
        assert other["generated_text"]
    monkeypatch.setattr(writing.Writer, "_ends", ())
    with pytest.raises(UserError, match="text 1: empty"):
        model.generate([""], max_new_tokens=4)


def test_what_changes_nothing_is_refused(gpt2: Path, berts: Path) -> None:
    model = Model.from_pretrained(gpt2)
    with pytest.raises(UserError, match=r"unknown setting 'max_tokens'; .*max_new_tokens"):
        model.generate(["The"], max_tokens=3)
    with pytest.raises(UserError, match=r"give a list of texts, as in \['The'\]"):
        model.generate("The")
    with pytest.raises(UserError, match=r"return_full_text \(--only-new\) changes nothing"):
        Model.from_pretrained(berts).generate(["the dog"], return_full_text=True)
    masked = Model(tiny.pretrained(tiny.tokenizer()))
    with pytest.raises(UserError, match="does not write text, its head is 'pretraining'"):
        masked.generate(["the dog"])


def test_the_fewest_tokens_are_written_where_there_is_room(gpt2: Path, berts: Path) -> None:
    words = tiny.tokenizer()
    (found,) = original(words, 160).generate(["the dog"], min_new_tokens=140)
    assert len(words.encode(found["generated_text"]).ids) > 128
    for folder, told in ((gpt2, "and 41 new ones"), (berts, "min_new_tokens is 41; the decoder")):
        with pytest.raises(UserError, match=told):
            Model.from_pretrained(folder).generate(["The"], min_new_tokens=41)


def test_narrow_products_are_used_where_they_are_asked_for(gpt2: Path) -> None:
    narrow = Model.from_pretrained(gpt2, precision="bfloat16")
    dtypes = set()
    layer = narrow.network.encoder.blocks[0].feed_forward.up
    layer.register_forward_hook(lambda module, given, made: dtypes.add(made.dtype))
    assert narrow.generate(["The"], max_new_tokens=4)
    assert dtypes == {torch.bfloat16}


def test_what_others_say_of_writing_is_kept(gpt2: Path, tmp_path: Path) -> None:
    shutil.copytree(gpt2, tmp_path / "gpt2")
    others = {"task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}}
    changed(tmp_path / "gpt2" / "config.json", others)
    Model.from_pretrained(tmp_path / "gpt2").save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again" / "generation_config.json").exists()
    changed(tmp_path / "gpt2" / "generation_config.json", {"eos_token_id": 5})
    model = Model.from_pretrained(tmp_path / "gpt2")
    model.save_pretrained(tmp_path / "again")
    kept = json.loads((tmp_path / "again" / "generation_config.json").read_text())
    assert kept == {"eos_token_id": 5}


def changed(path: Path, told: dict[str, Any]) -> None:
    """Say something more in a file of JSON, which is made where it is not there."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | told))


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"num_beams": 3, "max_length": 9, "min_length": 4, "early_stopping": True}, {}),
        ({"num_beams": 2, "length_penalty": 2.0, "no_repeat_ngram_size": 2}, {"max_length": 20}),
        ({"max_length": 12, "no_repeat_ngram_size": 0, "length_penalty": 1.0}, {}),
    ],
    ids=["lengths", "beams", "greedy"],
)
def test_others_models_write_as_transformers_lets_them(
    file: str,
    told: dict[str, Any],
    wanted: dict[str, Any],
    berts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(berts, tmp_path / "model")
    changed(tmp_path / "model" / file, told)
    sets = [f"max_new_tokens={wanted['max_length'] - 1}"] if wanted else []
    capsys.readouterr()
    predict(tiny.SENTENCES[:3], model=tmp_path / "model", task="summarization", set=sets)
    found = [json.loads(line)["results"][0] for line in capsys.readouterr().out.splitlines()]
    theirs = transformers.EncoderDecoderModel.from_pretrained(berts)
    words = transformers.AutoTokenizer.from_pretrained(berts)
    for text, ours in zip(tiny.SENTENCES[:3], found, strict=True):
        out = theirs.generate(
            **words(text, return_tensors="pt"), **(told | wanted), do_sample=False
        )
        assert [ours["summary_text"]] == words.batch_decode(out, skip_special_tokens=True)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_beams": 2.0}, "num_beams is 2.0, but should be a whole number"),
        ({"max_new_tokens": "5"}, "max_new_tokens is '5', but should be a whole number"),
        ({"num_beams": 2, "early_stopping": "yes"}, "'yes', but should be one of True, False"),
        ({"stop": "the"}, "stop is 'the', but should be a list"),
        ({"do_sample": "yes"}, "do_sample is 'yes', but should be true or false"),
    ],
    ids=str,
)
def test_settings_of_the_wrong_kind_are_refused(
    settings: dict[str, Any], told: str, gpt2: Path
) -> None:
    with pytest.raises(UserError, match=f"generate: .*{told}"):
        Model.from_pretrained(gpt2).generate(["The"], **settings)


def test_samples_depend_on_seed_and_place(gpt2: Path) -> None:
    model = Model.from_pretrained(gpt2)
    twice = model.generate(["The", "The"], max_new_tokens=8, do_sample=True)
    assert twice[0] != twice[1]
    assert model.generate(["The"], max_new_tokens=8, do_sample=True) == twice[:1]
    assert model.generate(["The"], max_new_tokens=8, do_sample=True, seed=1) != twice[:1]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(["generate", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_command_prints_texts(gpt2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model.from_pretrained(gpt2)
    few = ["--model", str(gpt2), "--max-new-tokens", "6"]
    wanted = model.generate(TEXTS, max_new_tokens=6)
    status, out, _ = run(capsys, *TEXTS, *few, "--json")
    assert (status, json.loads(out)) == (0, {"results": wanted})
    status, out, _ = run(capsys, TEXTS[0], *few, "--num-beams", "2", "--num-return-sequences", "2")
    best = model.generate(TEXTS[:1], max_new_tokens=6, num_beams=2, num_return_sequences=2)
    shown = [f"{number}. {one['generated_text']}" for number, one in enumerate(best[0], 1)]
    assert out.splitlines() == "\n".join(shown).splitlines()
    status, out, _ = run(capsys, *few, "--json")
    assert json.loads(out)["results"] == model.generate([""], max_new_tokens=6)
    status, out, _ = run(capsys, TEXTS[0], *few, "--only-new", "--json")
    assert json.loads(out)["results"][0]["generated_text"] == wanted[0]["generated_text"][11:]


def test_the_command_tells_mistakes_in_a_line(
    gpt2: Path, berts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, "--model", str(berts))
    assert (status, "no text; an encoder-decoder" in err) == (2, True)
    for words, told in (
        (["--top-p", "0.5"], "top_p changes nothing without do_sample"),
        (["--num-beams", "4", "--do-sample"], "contradict each other"),
        (["--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["--stop", "nonsense"], "stop 'nonsense'"),
    ):
        status, out, err = run(capsys, "The", "--model", str(gpt2), *words)
        assert (status, out) == (2, "")
        assert told in err
        assert len(err.splitlines()) == 1
