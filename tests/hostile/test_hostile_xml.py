"""LIDC readings that are damaged, lying or malicious: a `CaseError` or readings, never more.

The environment variable ULS_DATA_HOSTILE_XML says how many cases there are (80).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_limits import at_most

from uls_data.demo.sources import make_archives
from uls_data.errors import CaseError
from uls_data.readers.lidc_xml import read_readings

CASES = int(os.environ.get("ULS_DATA_HOSTILE_XML", "80"))
PER_BATCH = 20
MARK = "XMARKX"
SECRET = "the secret of another file"
BOMB = "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, 12))
NUMBERS = ("NaN", "inf", "-1e308", "9" * 400, "1e999", "", "0x10", "-5", "16385", "1.5")


def entity(text: str, rng: random.Random, base: Path) -> str:
    kinds = [
        f'<!DOCTYPE x [<!ENTITY b0 "ha">{BOMB}]>',
        f'<!DOCTYPE x [<!ENTITY b11 SYSTEM "{base / "secret.txt"}">]>',
        f'<!DOCTYPE x SYSTEM "{base / "secret.dtd"}">',
    ]
    head, rest = text.split("?>", 1)
    return f"{head}?>{rng.choice(kinds)}{rest.replace('<Version>1.7', '<Version>&b11;')}"


def cut(text: str, rng: random.Random, base: Path) -> str:
    return text[: rng.randrange(len(text))]


def flips(text: str, rng: random.Random, base: Path) -> str:
    letters = list(text)
    for _ in range(rng.randint(1, 30)):
        letters[rng.randrange(len(letters))] = rng.choice("<>&;'\"/ \0x9\u20ac")
    return "".join(letters)


def number(text: str, rng: random.Random, base: Path) -> str:
    tag = rng.choice(["xCoord", "yCoord", "imageZposition", "subtlety", "SeriesInstanceUid"])
    parts = text.split(f"<{tag}>")
    at = rng.randrange(1, len(parts))
    parts[at] = rng.choice(NUMBERS) + parts[at][parts[at].index("</") :]
    return f"<{tag}>".join(parts)


def deep(text: str, rng: random.Random, base: Path) -> str:
    depth = rng.choice([40, 5_000, 200_000])
    return text.replace("<Version>", "<a>" * depth + "<Version>", 1)


def many(text: str, rng: random.Random, base: Path) -> str:
    edge = "<edgeMap><xCoord>1</xCoord><yCoord>2</yCoord></edgeMap>"
    return text.replace("<edgeMap>", edge * 20_000 + "<edgeMap>", 1)


def private(text: str, rng: random.Random, base: Path) -> str:
    tag = rng.choice(["servicingRadiologistID", "Version", "noduleID", "nonNoduleID", "inclusion"])
    return text.replace(f"<{tag}>", f"<{tag}>{MARK}")


HARM: tuple[Callable[[str, random.Random, Path], str], ...] = (
    *(entity, cut, flips, number, deep, many, private),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32")


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    raw = make_archives(tmp_path_factory.mktemp("raw"), only=["lidc_idri"])["lidc_idri"]
    return (raw / "tcia-lidc-xml/185/069.xml").read_text(encoding="utf-8")


@pytest.mark.parametrize("batch", range(-(-CASES // PER_BATCH)))
def test_batch(tmp_path: Path, batch: int, good: str) -> None:
    (tmp_path / "secret.txt").write_text(SECRET)
    refused = 0
    with at_most(60, f"batch {batch}"):
        for case in range(PER_BATCH):
            rng = random.Random(f"xml {batch} {case}")
            text = good
            made_of = rng.sample(HARM, rng.choice([1, 1, 2]))
            for harm in made_of:
                text = harm(text, rng, tmp_path)
            path = tmp_path / f"{case}.xml"
            encoding = rng.choice(ENCODINGS) if rng.random() < 0.2 else "utf-8"
            path.write_bytes(text.encode(encoding, "replace"))
            try:
                shown = repr(read_readings(path))
            except CaseError as error:
                shown, refused = str(error), refused + 1
                assert error.detail.strip()
            names = [harm.__name__ for harm in made_of]
            assert MARK not in shown and SECRET not in shown, (case, names)
            assert str(tmp_path) not in shown, (case, names)
    assert refused >= PER_BATCH // 4


def test_the_undamaged_file_is_read(tmp_path: Path, good: str) -> None:
    path = tmp_path / "good.xml"
    path.write_text(good, encoding="utf-8")
    assert len(read_readings(path).readers) == 4
