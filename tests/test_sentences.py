"""Sentences: abbreviations, terminators of many scripts, and time that grows with the text."""

import random
from collections.abc import Callable

import nupunkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.text import sentences
from unmask.text.sentences import LONGEST_RUN, splitter

KINDS = ("punkt", "unicode", "lines")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Fox ran. It was 3.14 p.m. today.", ["Mr. Fox ran.", "It was 3.14 p.m. today."]),
        ("“Stop!” he cried.  She did.", ["“Stop!” he cried.", "She did."]),
        ("  one without an end ", ["one without an end"]),
    ],
)
def test_punkt_knows_english(text: str, expected: list[str]) -> None:
    assert splitter("punkt")(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("他说：“你好吗？”她笑了。走吧！", ["他说：“你好吗？”", "她笑了。", "走吧！"]),
        ("これは文です。「はい。」と言った", ["これは文です。", "「はい。」", "と言った"]),
        ("यह एक है। यह दो है॥ क्या? हाँ", ["यह एक है।", "यह दो है॥", "क्या?", "हाँ"]),
        ("هل أنت بخير؟ نعم۔ شكرا", ["هل أنت بخير؟", "نعم۔", "شكرا"]),
        ("Es kostet 3.14 Euro. „Ja.“ Er ging.", ["Es kostet 3.14 Euro.", "„Ja.“", "Er ging."]),
        (
            "In the U.S. it is e.g. so. Yes?! (No.)",
            ["In the U.S. it is e.g. so.", "Yes?!", "(No.)"],
        ),
        ("He said no.\u00ad\u200b Then yes.", ["He said no.\u00ad\u200b", "Then yes."]),
        ("One.Two.a.B, c", ["One.Two.a.B, c"]),
        ("Etc., and so on. And", ["Etc., and so on.", "And"]),
    ],
)
def test_unicode_knows_the_terminators_of_all_scripts(text: str, expected: list[str]) -> None:
    assert splitter("unicode")(text) == expected


def test_a_line_is_a_sentence() -> None:
    assert splitter("lines")(" One. Two? \n\n \nThree") == ["One. Two?", "Three"]


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.sampled_from("aB1.!?。।“”「」\"') \t\n\x00\u200b\u0301"), max_size=80))
def test_nothing_is_lost_but_white_space(kind: str, text: str) -> None:
    found = splitter(kind)(text)
    assert all(sentence == sentence.strip() != "" for sentence in found)
    assert "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", " ", "\n\t\n", "\u3000"])
def test_nothing_has_no_sentences(kind: str, text: str) -> None:
    assert splitter(kind)(text) == []


def hostile(size: int) -> list[str]:
    """Make texts that are hard on a splitter: runs of marks, of letters, of white space."""
    units = [
        "word ",
        "a",
        "!",
        "! ",
        '."',
        "?)",
        ". ",
        "...",
        ".1 ",
        "U.S. ",
        " ",
        "a.\t",
        "。",
        "(.",
    ]
    units += ["!" * LONGEST_RUN + " "]
    texts = [(unit * (size // len(unit) + 1))[:size] for unit in units]
    marks = random.Random(0).choices(".!?\"')” \ta1A", k=size)
    return [*texts, "".join(marks)]


@pytest.mark.parametrize("kind", ["punkt", "unicode"])
def test_hostile_text_goes_through(kind: str) -> None:
    for text in hostile(1 << 16):  # some of these would take minutes in one run
        assert "".join("".join(splitter(kind)(text)).split()) == "".join(text.split())


def test_nupunkt_never_sees_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Spy:
        def tokenize(self, text: str) -> list[str]:
            seen.append(text)
            return [text]

    monkeypatch.setattr(sentences.nupunkt, "load", lambda name: Spy())
    run = "?)" * LONGEST_RUN
    assert splitter("punkt")(f"Before. {run} After.") == ["Before.", run, "After."]
    assert max(len(word) for text in seen for word in text.split()) <= LONGEST_RUN


def test_nupunkt_is_loaded_once() -> None:
    load: Callable[[str], object] = nupunkt.load
    assert load("default") is load("default")
