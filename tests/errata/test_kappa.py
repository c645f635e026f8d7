"""Kappa as textbooks have it, and what is not counted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from makers.curators import SEEN, verdict, write_curator

from uls_data.cli import main
from uls_data.errata import ErrataError, compare_errata
from uls_data.triage.listing import read_list


def two(folder: Path, *pairs: tuple[str, str]) -> list[Path]:
    """Overlays of two curators; each pair is a VOI: `accepted`, `rejected leak`, `` for none."""
    said: dict[str, list[Any]] = {"ann": [], "ben": []}
    for number, words in enumerate(pairs):
        for name, word in zip(said, words, strict=True):
            if word:
                said[name].append(verdict(f"v{number:03}", *word.split(" ", 1)))
    return [write_curator(folder / f"{name}.yaml", *some) for name, some in said.items()]


def test_kappa_of_the_textbook(tmp_path: Path) -> None:
    """Of 50, both say yes of 20 and no of 15; one alone says yes of 5 and of 10: kappa is 0.4."""
    yes, no = "accepted", "rejected"
    pairs = [(yes, yes)] * 20 + [(yes, no)] * 5 + [(no, yes)] * 10 + [(no, no)] * 15
    (pair,) = compare_errata(two(tmp_path, *pairs)).agreements
    overall, accepted, rejected = pair.kappas
    assert (overall.n, overall.observed, overall.why) == (50, 0.7, "")
    assert overall.kappa == pytest.approx(0.4)
    assert (accepted.first, accepted.second) == (25, 30) and (rejected.first) == 25
    assert accepted.kappa == rejected.kappa == overall.kappa


def test_three_decisions_and_reasons(tmp_path: Path) -> None:
    pairs = [
        *[("accepted", "accepted")] * 4,
        *[("rejected leak", "rejected leak")] * 2,
        ("rejected leak", "rejected shifted"),
        ("noted wrong type", "accepted"),
        ("accepted", "noted wrong type"),
        ("accepted", ""),
        ("", "rejected leak"),
        ("noted", "accepted"),  # a bare note decides nothing
    ]
    found = compare_errata(two(tmp_path, *pairs))
    (pair,) = found.agreements
    assert (pair.one_only, pair.other_masks) == (3, 0)
    told = {kappa.question: kappa for kappa in pair.kappas}
    # 9 VOIs, 7 agreed; by chance (5 x 5 + 3 x 3 + 1 x 1) / 81.
    assert told["decision"].n == 9
    assert told["decision"].kappa == pytest.approx((7 / 9 - 35 / 81) / (1 - 35 / 81))
    assert (told["leak"].first, told["leak"].second) == (3, 2)
    assert told["leak"].kappa == pytest.approx((8 / 9 - 48 / 81) / (1 - 48 / 81))
    assert told["wrong type"].kappa == pytest.approx((7 / 9 - 65 / 81) / (1 - 65 / 81))
    assert told["shifted"].first == 0 and told["shifted"].kappa == 0
    # Other reasons to leave a lesion out do not count as a disagreement: the data are the same.
    assert [one.voi_id for one in found.disagreements] == ["v007", "v008"]
    assert found.disagreements[0].words == "ann: noted (wrong type); ben: accepted"


def test_undefined_is_said(tmp_path: Path) -> None:
    (pair,) = compare_errata(two(tmp_path, *[("accepted", "accepted")] * 3)).agreements
    assert [(k.n, k.observed, k.kappa, k.why) for k in pair.kappas] == [
        (3, 1.0, None, "both said accepted of all 3"),
        (3, 1.0, None, "both said yes of all 3"),
    ]
    (pair,) = compare_errata(two(tmp_path, ("accepted", ""))).agreements
    assert [(k.n, k.kappa, k.why) for k in pair.kappas] == [
        (0, None, "no VOI that both decided on")
    ]


def test_only_who_saw_the_same_mask_can_agree(tmp_path: Path) -> None:
    ann = write_curator(tmp_path / "ann.yaml", verdict("v", "accepted"), verdict("w", "accepted"))
    ben = write_curator(
        tmp_path / "ben.yaml", verdict("v", "accepted", before="b" * 64), verdict("w", "accepted")
    )
    found = compare_errata([ann, ben])
    assert found.agreements[0].other_masks == 1 and found.agreements[0].kappas[0].n == 1
    assert [one.voi_id for one in found.disagreements] == ["v"]


def test_the_list_opens_in_triage(tmp_path: Path, capsys: Any) -> None:
    paths = two(tmp_path, ("accepted", "rejected leak"), ("accepted", "accepted"))
    table = tmp_path / "differ.csv"
    with pytest.raises(SystemExit) as caught:
        main(["errata", "compare", *map(str, paths), "--list", str(table)])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "They differ on 1 VOIs" in text and "triage OUT --adjudicate" in text
    (entry,) = read_list(table)
    assert (entry.voi_id, entry.source, entry.layer) == ("v000", "own", "annotated")
    assert entry.why == ["disagreement: ann: accepted; ben: rejected (leak)"]
    assert len(list(csv.reader(table.open()))) == 2
    with pytest.raises(SystemExit):
        main(["errata", "compare", *map(str, paths), "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines if line["kind"] != "kappa"] == ["pair", "disagreement"]
    assert lines[0]["n"] == 2 and SEEN not in text


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    ann, ben = two(tmp_path, ("accepted", "accepted"))
    with pytest.raises(ErrataError, match="at least 2 overlays"):
        compare_errata([ann])
    with pytest.raises(ErrataError, match="no such overlay"):
        compare_errata([ann, tmp_path / "nobody.yaml"])
    with pytest.raises(ErrataError, match=r"both called ann: change the `name`"):
        compare_errata([ann, ben, ann])
    with pytest.raises(ErrataError, match="cannot be written"):
        compare_errata([ann, ben], to_list=ann / "list.csv")
