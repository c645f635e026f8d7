"""References to series and image as radiologists write them."""

from __future__ import annotations

import pytest

from uls_data.mining.lexicon import Words, lexicons
from uls_data.mining.references import find_references
from uls_data.mining.word_places import Page

WORDS: dict[str, Words] = {words.language: words for words in lexicons()}


def found(language: str, text: str) -> list[tuple[int | None, int | None]]:
    return [(one.series, one.image) for one in find_references(Page(text, WORDS[language]))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(IMA 8-34)", (8, 34)),
        ("(series 4, image 52)", (4, 52)),
        ("se 3/im 45", (3, 45)),
        ("(series 3 image 94)", (3, 94)),
        ("image #15 series 4", (4, 15)),
        ("(2:12)", (2, 12)),
        ("(601b:56)", (601, 56)),
        ("series 601b image 56", (601, 56)),
        ("se3 im45", (3, 45)),
        ("Se: 4 Im: 52", (4, 52)),
        ("series 4/52", (4, 52)),
        ("series/image 4/52", (4, 52)),
        ("image 45 of series 3", (3, 45)),
        ("series 3, axial image 45", (3, 45)),
        ("(S4 I52)", (4, 52)),
        ("s3i45", (3, 45)),
        ("(32 mm, 204-236)", (204, 236)),
        ("(4:52-55)", (4, 52)),
        ("images 45-47", (None, 45)),
        ("(coronal 602:45)", (602, 45)),
        ("(#52)", (None, 52)),
        ("[4/52]", (4, 52)),
        ("series\n4, image\n52", (4, 52)),
    ],
)
def test_references(text: str, expected: tuple[int | None, int | None]) -> None:
    assert found("en", text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(serie 4, beeld 52)", (4, 52)),
        ("(Serie 5 ima 456. Radiologisch", (5, 456)),
        ("beeld 45, serie 3", (3, 45)),
        ("IMA 4/52", (4, 52)),
        ("(serie/beeld 4/52)", (4, 52)),
        ("(9-101)", (9, 101)),
    ],
)
def test_dutch_references(text: str, expected: tuple[int | None, int | None]) -> None:
    assert found("nl", text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "(27-05)", "(12/2019)", "(attenuation 204-236 HU)", "(3-5 mm)", "2:12 pm", "level 4-5",
        "S1 S2", "(L3-4)", "12-06-2020", "(8-34/36)", "slice thickness", "a series of images",
    ],
)  # fmt: skip
def test_no_references(text: str) -> None:
    assert found("en", text) == []
