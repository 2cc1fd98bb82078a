"""Every kind of task reads, predicts, is saved and refuses as all others do."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
import unmask
from samples import KINDS, READING, SAMPLES, records, save, task
from unmask.contracts import Prediction
from unmask.errors import UserError
from unmask.predict import records as files
from unmask.predict.model import Model
from unmask.predict.predictor import predictions
from unmask.text.columns import Columns
from unmask.text.rows import Row

every = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Open the tiny model of a kind."""
    folder = tmp_path_factory.mktemp("models")
    return lambda name: Model.from_pretrained(save(name, folder / name))


def assert_close(ours: Any, theirs: Any) -> None:
    """Compare results, numbers within 1e-5."""
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        assert_close(list(ours.values()), list(theirs.values()))
    elif isinstance(ours, list):
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, abs=1e-5)
    else:
        assert ours == theirs


def test_every_kind_has_a_sample() -> None:
    assert set(SAMPLES) == set(KINDS)


@every
def test_a_saved_model_knows_what_it_was_made_for(name: str, tmp_path: Path) -> None:
    opened = Model.from_pretrained(save(name, tmp_path))
    assert opened.purpose == task(name)
    assert (opened.task, opened.labels) == (name, task(name).labels)
    assert f"for {name}" in repr(opened)
    opened.save_pretrained(tmp_path / "again")
    assert Model.from_pretrained(tmp_path / "again").purpose == task(name)


@every
def test_the_head_tells_where_nothing_is_written(name: str, tmp_path: Path) -> None:
    save(name, tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    del config["unmask"]
    file.write_text(json.dumps(config))
    opened = Model.from_pretrained(tmp_path)
    assert (opened.task, opened.labels) == (name, task(name).labels)
    assert opened.purpose.reading.length == 32  # as long as the model reads


@every
@pytest.mark.parametrize("long", ["truncate", "windows"])
def test_a_record_means_the_same_whatever_stands_beside_it(
    name: str, long: Any, model: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, made = model(name), task(name, replace(READING, long=long))
    network, words = opened.network, opened.tokenizer
    mixed = records(name, labelled=False) * 3
    at_once = [one for _, one in predictions(made, network, words, mixed, top_k=3)]
    assert len(at_once) == len(mixed)
    for budget, rows in ((1, 1), (40, 2)):
        monkeypatch.setattr("unmask.predict.predictor.BATCH_TOKENS", budget)
        monkeypatch.setattr("unmask.predict.predictor.ROWS", rows)
        monkeypatch.setattr("unmask.predict.predictor.WRITTEN", rows)
        found = list(predictions(made, network, words, mixed, top_k=3))
        assert [one for one, _ in found] == mixed
        for (_, one), other in zip(found, at_once, strict=True):
            assert_close(one.results, other.results)
            assert one.cut == other.cut
            assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


@every
def test_a_changed_weight_is_seen(name: str, model: Callable[[str], Model]) -> None:
    opened = model(name)
    wanted = opened.predict([SAMPLES[name].item])
    with torch.no_grad():
        opened.network.encoder.blocks[1].feed_forward.down.weight[0] += 1.0
    with pytest.raises(AssertionError):
        assert_close(opened.predict([SAMPLES[name].item]), wanted)


@every
def test_results_have_the_keys_of_the_pipelines(name: str, model: Callable[[str], Model]) -> None:
    opened, sample = model(name), SAMPLES[name]
    (default,) = opened.predict([sample.item])
    (listed,) = opened.predict([sample.item], top_k=2)
    assert isinstance(listed, list)
    if opened.purpose.ranked:
        assert_close(default, listed[0])
        assert set(default) == sample.keys
        assert len(listed) <= 2
    elif name == "feature-extraction":
        assert_close(default, opened.embed([sample.item])[0].tolist())
    else:
        assert all(set(one) == sample.keys for one in default)
    assert json.loads(json.dumps([default, listed])) == [default, listed]


@every
def test_a_label_is_not_looked_at_where_none_is_wanted(name: str) -> None:
    sample = SAMPLES[name]
    for row in sample.rows:
        without = {n: v for n, v in row.items() if n != sample.label}
        for fields in (without, {**row, sample.label: 1j}):
            assert KINDS[name].record(Row("", fields, None), Columns(), False).label is None


@every
def test_what_a_row_lacks_is_said_with_its_place(name: str) -> None:
    kind, sample = KINDS[name], SAMPLES[name]
    for field, labelled in ((sample.text, False), (sample.text, True), (sample.label, True)):
        fields = {n: v for n, v in sample.rows[0].items() if n != field}
        with pytest.raises(UserError) as caught:
            kind.record(Row("a.jsonl, line 7", fields, None), Columns(), labelled)
        assert str(caught.value).startswith("a.jsonl, line 7: no column")
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match=r"^a.jsonl, line 8: not JSON"):
        kind.record(Row("a.jsonl, line 8", {}, None, "not JSON"), Columns(), False)
    with pytest.raises(UserError, match=r"^item 1: "):
        kind.direct(1.5, "item 1")


@every
def test_right_answers_have_the_best_figure(name: str) -> None:
    made = task(name)
    metric = made.metric()
    for record in records(name):
        several = name == "question-answering" or "summarization" in name
        answer = record.label[0] if several else record.label
        right = Prediction(results=[], answer=answer, confidence=1.0)
        assert metric.right(record, right)
        metric.add(record, right)
    figures = metric.result()
    assert figures[metric.main] == pytest.approx(SAMPLES[name].best)
    assert metric.main in metric.names
    assert set(metric.names) <= set(figures)


@every
def test_a_file_is_evaluated_and_what_was_predicted_written(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in SAMPLES[name].rows))
    wanted = tmp_path / "predicted"
    folder = save(name, tmp_path / "model")
    result = unmask.evaluate(name, folder, str(file), predictions=wanted, precision="float32")
    assert (result.task, result.rows) == (name, len(SAMPLES[name].rows))
    opened = Model.from_pretrained(folder)
    metric, pairs = opened.purpose.metric(), []
    read = files.records(KINDS[name], str(file), Columns())
    for pair in predictions(opened.purpose, opened.network, opened.tokenizer, read):
        metric.add(*pair)
        pairs.append(pair)
    assert result.metrics == pytest.approx(metric.result())
    assert wanted.read_text() == "".join(opened.purpose.written(pairs))


@every
def test_training_divides_each_loss_by_its_count(name: str, model: Callable[[str], Model]) -> None:
    made, opened = task(name), model(name)
    network = opened.network
    laid = made.windows(records(name), opened.tokenizer)
    units = [unit for windows in laid for unit in made.units(windows)]
    assert [window for unit in units for window in unit] == [w for own in laid for w in own]
    batch = made.batch([window for unit in units for window in unit])
    if not SAMPLES[name].learns:
        for learn in (
            lambda: made.loss(network.encoder, network.head, batch),
            lambda: KINDS[name].learn([], READING, None),
        ):
            with pytest.raises(UserError, match=f"^{name} is not fine-tuned; "):
                learn()
        return
    with torch.no_grad():
        together = made.loss(network.encoder, network.head, batch)
        alone = [made.batch(unit) for unit in units]
        parts = [made.loss(network.encoder, network.head, one)["task"].total for one in alone]
    assert set(together) == set(batch.counts) == {"task"}
    assert float(together["task"].total) == pytest.approx(float(sum(parts)), rel=1e-5)
    assert batch.counts["task"] == pytest.approx(sum(one.counts["task"] for one in alone))


def test_a_head_put_on_by_others_counts_more_than_what_was_written(tmp_path: Path) -> None:
    save("text-classification", tmp_path)
    folder = tmp_path / "other"
    model = tiny.pretrained(tiny.tokenizer(), "token-classification", labels=("O", "B-A"))
    unmask.Model(model).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["unmask"] = json.loads((tmp_path / "config.json").read_text())["unmask"]
    (folder / "config.json").write_text(json.dumps(config))
    assert Model.from_pretrained(folder).task == "token-classification"
