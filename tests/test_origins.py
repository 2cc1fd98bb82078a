"""The demonstration's task: which package a paragraph comes from."""

from pathlib import Path

import pytest

from unmask.demo import origins
from unmask.demo.origins import Origins, draw
from unmask.text.python_documentation import Document


@pytest.fixture(scope="module")
def drawn(library: list[Document]) -> Origins:
    return draw(library)


def test_every_package_has_its_share(drawn: Origins) -> None:
    for rows, least in ((drawn.train, origins.TRAIN), (drawn.test, origins.TEST)):
        counts = [sum(label == package for _, label in rows) for package in origins.PACKAGES]
        assert all(least <= count < 2 * least for count in counts)


def test_nothing_of_the_test_is_left_in_the_text_and_all_else_is(
    library: list[Document], drawn: Origins
) -> None:
    text = set(drawn.text(library))
    test = {paragraph for paragraph, _ in drawn.test}
    assert not test & text
    everything = {paragraph for document in library for paragraph in document.paragraphs}
    assert len(everything - text - test) < 20  # alone in what was left of a document
    assert {paragraph for paragraph, _ in drawn.train} <= text | everything - test


def test_a_docstring_is_for_training_or_for_the_test_as_a_whole(
    library: list[Document], drawn: Origins
) -> None:
    train, test = ({paragraph for paragraph, _ in rows} for rows in (drawn.train, drawn.test))
    for document in library:
        for part in document.parts:
            assert not test & set(part) or test.issuperset(part)
            assert not (test & set(part) and train & set(part))


def test_labels_are_true(library: list[Document], drawn: Origins) -> None:
    said = {p: document.package for document in library for p in document.paragraphs}
    assert all(said[paragraph] == label for paragraph, label in drawn.train + drawn.test)


def test_the_seed_decides(library: list[Document], drawn: Origins) -> None:
    assert draw(library) == drawn
    assert draw(library, seed=1).test != drawn.test


def test_a_small_package_keeps_two_thirds_for_training() -> None:
    parts = [[f"Paragraph {i} of it."] for i in range(9)]
    drawn = draw([Document("xml", parts), Document("other", [["Not asked for."]])])
    assert len(drawn.test) == 3
    assert len(drawn.train) == 6


def test_a_line_is_a_paragraph_and_a_blank_line_ends_a_document() -> None:
    told = [
        Document("a", [["One.", "Two."], ["Three."]]),
        Document("xml", [["Four.", "Five."]]),
        Document("c", [["Six.", "Seven."]]),
    ]
    held = Origins([], [("Five.", "xml"), ("Two.", "a")])
    assert list(held.text(told)) == ["One.", "Three.", "", "Six.", "Seven.", ""]


def test_files_have_a_header_and_a_row_a_line(tmp_path: Path) -> None:
    rows = Origins([("One.", "xml"), ('"Two" tabs.', "http")], [("Three.", "xml")])
    train, test = rows.write(tmp_path / "new")
    assert Path(train).read_text() == 'text\tlabel\nOne.\txml\n"Two" tabs.\thttp\n'
    assert Path(test).read_text() == "text\tlabel\nThree.\txml\n"
