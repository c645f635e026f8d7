"""Words that a user adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from uls_data import mine
from uls_data.mining.lexicon import LexiconError, lexicons
from uls_data.mining.word_places import Page, language_of


def test_words_are_added_to_their_language(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("language: en\nlocation: {kidney: [wolffian]}\n")
    (tmp_path / "a.txt").write_text("There is a mass in the wolffian body of 12 mm.")
    rows = mine(tmp_path / "a.txt", tmp_path / "t.csv", lexicon=tmp_path / "words.yaml").rows
    assert [row["lesion_type"] for row in rows] == ["kidney"]
    assert [row["lesion_type"] for row in mine(tmp_path / "a.txt", tmp_path / "t.csv").rows] == [
        "unknown"
    ]


def test_another_language(tmp_path: Path) -> None:
    words = """
language: de
common: [der, die, das, und, mit, im, von, ein, eine, ist]
series: [serie]
image: [bild]
lesion: [rundherd*, raumforderung*]
location: {lung: [oberlappen], liver: [leber*]}
"""
    (tmp_path / "de.yaml").write_text(words)
    text = (
        "Im rechten Oberlappen ein Rundherd mit 12 x 8 mm (Serie 3, Bild 45) und eine Leberzyste."
    )
    (tmp_path / "a.txt").write_text(text)
    (row,) = mine(tmp_path / "a.txt", tmp_path / "t.csv", lexicon=tmp_path / "de.yaml").rows
    assert (row["language"], row["lesion_type"]) == ("de", "lung")
    assert (row["long_axis_mm"], row["series_number"], row["image_number"]) == (12.0, 3, 45)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("language: en\nwords: [a]\n", "words"),
        ("language: en\nlesion: [no, on, yes]\n", "quote"),
        ("lesion: [mass]\n", "language"),
        ("language: en\nlesion: ['a*b*c*d']\n", "stars"),
        ("language: en\nlesion: &a [x]\n", "aliases"),
        ("- a\n", "dictionary"),
    ],
)
def test_wrong_lexicons_say_where(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "words.yaml").write_text(text)
    with pytest.raises(LexiconError, match=says):
        lexicons(tmp_path / "words.yaml")


def test_languages_are_told_apart() -> None:
    known = lexicons()
    for text, language in [
        ("nodule in the right upper lobe of 5 mm", "en"),
        ("nodus in de rechter bovenkwab van 5 mm", "nl"),
        ("Long RBK 12 mm", "nl"),
        ("RUL 12 mm", "en"),
    ]:
        assert language_of(text, known).language == language


def test_a_phrase_may_be_broken_by_a_line() -> None:
    page = Page("lymph\n  node, lymph-node, lymph  nodes", lexicons()[0])
    assert len(page.hits("location.lymph_node")) == 3
