"""Sizes as radiologists write them."""

from __future__ import annotations

import pytest

from uls_data.mining.lexicon import Words, lexicons
from uls_data.mining.sizes import find_sizes
from uls_data.mining.word_places import Page

WORDS: dict[str, Words] = {words.language: words for words in lexicons()}


def axes(language: str, text: str) -> list[tuple[float, ...]]:
    return [size.axes_mm for size in find_sizes(Page(text, WORDS[language]))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("68 x 40 mm", [(68, 40)]),
        ("3.2cm x2.1cm", [(32, 21)]),
        ("3 cm x 20 mm", [(30, 20)]),
        ("3 cm x 2", [(30, 20)]),
        ("5x4x3cm", [(50, 40, 30)]),
        ("1.2 x\n0.8 cm", [(12, 8)]),
        ("4.7 × 4.2 × 4.5 cm", [(47, 42, 45)]),
        ("2.4 by 1.9 cm", [(24, 19)]),
        ("7-millimeter nodule", [(7,)]),
        (".8 cm", [(8,)]),
        ("of 5, 7 and 9 mm", [(5,), (7,), (9,)]),
        ("12/8 mm", [(12, 8)]),
        ("max 12", [(12,)]),
        ("node 12 x 8 (se 4", [(12, 8)]),
        ("in segments 4 and 8 mm", [(8,)]),
        ("3-4 mm", [(4,)]),
        ("from 12/03/2021: 5 mm", [(5,)]),
    ],
)
def test_sizes(text: str, expected: list[tuple[float, ...]]) -> None:
    assert axes("en", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2 cm", [(12,)]),
        ("1,2 bij 0,8 cm", [(12, 8)]),
        ("3 à 4 mm", [(4,)]),
        ("5 op 4 cm", [(50, 40)]),
        ("van 10 naar 12 mm", [(10,), (12,)]),
        ("van 3,5x2,8x4,1 cm", [(35, 28, 41)]),
        ("ca.12mm", [(12,)]),
    ],
)
def test_dutch_sizes(text: str, expected: list[tuple[float, ...]]) -> None:
    assert axes("nl", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "5 mm3", "12 cm²", "8 mm/s", "120 mmHg", "80 ml", "2 x 5 days", "512 x 512 matrix", "2 x 1",
        "75 mg", "on 12-06-2020", "L3-L4", "grade 2-3", "SUV max 12", "3/4", "1 x per day",
        "100 cc Optiray 300", "0 mm", "900 mm",
    ],
)  # fmt: skip
def test_no_sizes(text: str) -> None:
    assert axes("en", text) == []


def test_what_stands_beside_a_size() -> None:
    def one(text: str) -> tuple[str, tuple[str, ...], float | None]:
        (size,) = find_sizes(Page(text, WORDS["en"]))
        return size.bound, size.labels, size.low_mm

    assert one("nodule < 5 mm") == ("below", ("",), None)
    assert one("nodes larger than 1 cm") == ("above", ("",), None)
    assert one("measuring up to 7 mm") == ("at_most", ("",), None)
    assert one("approximately 6 mm") == ("about", ("",), None)
    assert one("3-4 mm") == ("range", ("",), 3)
    assert one("12 mm in short axis") == ("exact", ("short",), None)
    assert one("short axis diameter of 14 mm") == ("exact", ("short",), None)
    labels = one("3.2 (AP) x 2.1 (TV) x 4.0 (CC) cm")[1]
    assert labels == ("other", "other", "craniocaudal")


def test_offsets_are_those_of_the_text() -> None:
    text = "İ nodule — 12 × 8 mm"
    (size,) = find_sizes(Page(text, WORDS["en"]))
    assert text[slice(*size.span)] == "12 × 8 mm"
