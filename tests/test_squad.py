"""SQuAD's files are read article by article, and its scores are the official ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unmask.contracts import Prediction, Record
from unmask.errors import UserError
from unmask.scores.squad import AnswerScores, exact_match, f1, normalise
from unmask.text import squad
from unmask.text.squad import read_squad


def document(articles: int = 3) -> dict[str, Any]:
    """Make SQuAD v2.0 of two questions an article, the second one without an answer."""
    return {
        "version": "v2.0",
        "data": [
            {
                "title": f"title {n}",
                "paragraphs": [
                    {
                        "context": f"Ünder [ the ] {n} bridge.",
                        "qas": [
                            {
                                "id": f"{n}a",
                                "question": "Where?",
                                "answers": [{"text": "bridge", "answer_start": 16}],
                                "is_impossible": False,
                            },
                            {
                                "id": f"{n}b",
                                "question": "When?",
                                "answers": [],
                                "is_impossible": True,
                            },
                        ],
                    }
                ],
            }
            for n in range(articles)
        ],
    }


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize("order", [("version", "data"), ("data", "version")])
def test_questions_are_read_with_what_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, order: tuple[str, str]
) -> None:
    monkeypatch.setattr(squad, "BLOCK", block)
    whole, path = document(), tmp_path / "a.json"
    path.write_text(json.dumps({k: whole[k] for k in order}, ensure_ascii=False, indent=1))
    rows = list(read_squad(str(path)))
    assert [row.place for row in rows] == [
        f"{path}, question {n}{q}" for n in range(3) for q in "ab"
    ]
    assert rows[4].fields == {
        "title": "title 2",
        "context": "Ünder [ the ] 2 bridge.",
        **whole["data"][2]["paragraphs"][0]["qas"][0],
    }
    done = [row.done for row in rows]
    assert done == sorted(done, key=lambda share: share or 0)
    assert done[-1] == pytest.approx(1.0, abs=0.1)


def test_one_article_is_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squad, "BLOCK", 100)
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document(50)).encode() + b" trailing nonsense"))
    held = []
    with squad.opened(str(path)) as stream:
        scanner = squad._Scanner(str(path), stream)
        for _ in scanner.articles():
            held.append(len(scanner._text))
    assert len(held) == 50
    assert max(held) < 2 * len(json.dumps(document(1)))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "a.json: the file is empty"),
        (" \n", "a.json: the file is empty"),
        ("question\tanswer\n", "a.json: not SQuAD JSON: 'question\\tanswer\\n' where '{'"),
        ('{"version": "1.1"}', "not SQuAD JSON: '}' where ','"),
        ('{"data": {}}', "not SQuAD JSON: '{}}' where '['"),
        ('{"data": [{"title": 1}]}', "a.json, article 1: not SQuAD JSON: no list 'paragraphs'"),
        ('{"data": [7]}', "a.json, article 1: not SQuAD JSON"),
        ('{"data": [{"paragraphs": [{"context": ""}]}]}', "no list 'qas' is there"),
        ('{"data": [{"paragraphs": [', "a.json: not SQuAD JSON (Expecting value"),
        ('{"data": [{"paragraphs": []}', "not SQuAD JSON: the end where ','"),
        ('{"data" [', "not SQuAD JSON: '[' where ':'"),
    ],
)
def test_what_is_not_squad_is_refused_by_name(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError) as caught:
        list(read_squad(str(tmp_path / "a.json")))
    assert part in str(caught.value)


def test_bytes_that_are_not_text_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squad, "BLOCK", 5)
    (tmp_path / "a.json").write_bytes(b'{"data": ["\xc3\xe9"]}')
    with pytest.raises(UserError, match=r"a\.json, byte 11: not UTF-8 \(0xC3\)"):
        list(read_squad(str(tmp_path / "a.json")))


def test_a_question_that_is_none_does_not_stop_the_others(tmp_path: Path) -> None:
    whole = document(1)
    whole["data"][0]["paragraphs"][0]["qas"].insert(0, "what?")
    (tmp_path / "a.json").write_text(json.dumps(whole))
    wrong, *sound = read_squad(str(tmp_path / "a.json"))
    assert (wrong.error, len(sound)) == ("the question 'what?' is no object", 2)


def test_a_real_file_is_read(shared: Path) -> None:
    rows = list(read_squad(str(shared / "squad" / "dev.json.gz")))
    assert len(rows) == 1491
    assert len({row.fields["context"] for row in rows}) < 1491
    for row in rows:
        for answer in row.fields["answers"]:
            start = answer["answer_start"]
            assert row.fields["context"][start:].startswith(answer["text"])


def test_answers_are_normalised() -> None:
    assert normalise("The  U.S.A., an 'Apple' - a\tPIE") == "usa apple pie"
    assert normalise("theatre another") == "theatre another"
    assert normalise("A the an") == ""


@pytest.mark.parametrize(
    ("gold", "answer", "exact", "overlap"),
    [
        ("the Broncos", "Broncos!", True, 1.0),
        # Two of three words and two of four: 2 * (2/3 * 2/4) / (2/3 + 2/4) = 4/7.
        ("big red dog", "red dog or horse", False, 4 / 7),
        # A word counts as often as in both: one of two and one of one.
        ("dog dog", "dog", False, 2 / 3),
        ("cat", "dog", False, 0.0),
        ("", "", True, 1.0),
        ("", "dog", False, 0.0),
        ("dog", "the", False, 0.0),
    ],
)
def test_scores_of_an_answer(gold: str, answer: str, exact: bool, overlap: float) -> None:
    assert exact_match(gold, answer) is exact
    assert f1(gold, answer) == pytest.approx(overlap)


def scored(*pairs: tuple[tuple[str, ...], str]) -> dict[str, float]:
    scores = AnswerScores()
    for golds, answer in pairs:
        record = Record(place="here", label=golds)
        prediction = Prediction(results=[], answer=answer, confidence=1.0)
        scores.add(record, prediction)
        assert scores.right(record, prediction) == any(
            exact_match(g, answer) for g in golds or [""]
        )
    return scores.result()


def test_the_best_of_the_right_answers_counts() -> None:
    figures = scored((("big red dog", "the dog"), "dog"), (("red dog",), "dog"))
    assert figures == {"exact_match": 50.0, "f1": pytest.approx(100 * (1 + 2 / 3) / 2)}


def test_questions_without_an_answer_have_figures_of_their_own() -> None:
    figures = scored((("red dog",), "dog"), ((), ""), ((), "dog"), ((), ""))
    assert figures == {
        "exact_match": 50.0,
        "f1": pytest.approx(100 * (2 / 3 + 2) / 4),
        "HasAns_exact": 0.0,
        "HasAns_f1": pytest.approx(200 / 3),
        "HasAns_total": 1.0,
        "NoAns_exact": pytest.approx(200 / 3),
        "NoAns_f1": pytest.approx(200 / 3),
        "NoAns_total": 3.0,
    }


def of_squads_script(doubts, gains, empty):
    """Find the best threshold as evaluate-v2.0.py does: `find_best_thresh` of Rajpurkar et al."""
    current = best = empty
    threshold = None
    for question in sorted(range(len(doubts)), key=lambda question: doubts[question]):
        current += gains[question]
        if current > best:
            best, threshold = current, doubts[question]
    return 100 * best / len(doubts), threshold


def test_the_best_threshold_is_that_of_squads_script() -> None:
    rng = np.random.default_rng(0)
    given = [
        (("red dog",) if rng.random() < 0.6 else (), ["dog", "red dog", "cat"][rng.integers(3)])
        for _ in range(40)
    ]
    doubts = rng.normal(size=40) + [1.0 if not golds else -0.5 for golds, _ in given]
    scores = AnswerScores()
    for (golds, best), doubt in zip(given, doubts, strict=True):
        answer = "" if doubt > 0 else best
        scores.add(
            Record(place="here", label=golds),
            Prediction(results=[], answer=answer, confidence=1.0, unanswered=(float(doubt), best)),
        )
    figures, empty = scores.result(), sum(not golds for golds, _ in given)
    for name, score in (("exact", exact_match), ("f1", f1)):
        gains = [score(golds[0], best) if golds else -1 for golds, best in given]
        wanted = of_squads_script(doubts.tolist(), gains, empty)
        assert (figures[f"best_{name}"], figures[f"best_{name}_thresh"]) == pytest.approx(wanted)
        plain = {"exact": "exact_match"}.get(name, name)
        assert figures[f"best_{name}"] > figures[plain]
        again = scored(
            *(
                (golds, best if doubt <= wanted[1] else "")
                for (golds, best), doubt in zip(given, doubts, strict=True)
            )
        )
        assert again[plain] == pytest.approx(wanted[0])


def test_nothing_scored_is_nothing_right() -> None:
    assert scored() == {"exact_match": 0.0, "f1": 0.0}
