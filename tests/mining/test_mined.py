"""The table of measured lesions: real reports, made-up ones, and what may never be in it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from makers.report_scores import PHRASINGS, made_up, written
from makers.report_truth import Score, marked
from makers.reports import made_up_report

from uls_data import mine
from uls_data.errors import CaseError, SourceError
from uls_data.mining.lexicon import lexicons
from uls_data.mining.mined import COLUMNS, rows_of_report
from uls_data.outcome import Reason

WORDS = lexicons()
TARGETS = [
    (68.0, 40.0, 8, 34), (58.0, 32.0, 3, 38), (27.0, 14.0, 3, 28), (29.0, 18.0, 8, 104),
    (36.0, 22.0, 4, 168), (42.0, 24.0, 4, 172),
]  # fmt: skip


def rows(text: str) -> list[dict[str, Any]]:
    return list(rows_of_report(text, "a.txt", None, WORDS))


def lesions(text: str) -> list[dict[str, Any]]:
    return [row for row in rows(text) if row["status"] == "ok"]


def check(score: Score) -> None:
    said = "\n".join([*score.lines(), *score.errors[:20]])
    assert score.precision("size") >= 0.97 and score.recall("size") >= 0.95, said
    assert score.precision("reference") >= 0.95 and score.recall("reference") >= 0.95, said
    for name in ("lesion_type", "previous", "target"):
        assert score.precision(name) >= 0.95 and score.recall(name) >= 0.95, said


@pytest.mark.parametrize("language", ["en", "nl"])
def test_made_up_reports(language: str) -> None:
    check(made_up(language, 40))


@pytest.mark.parametrize("language", ["en", "nl"])
def test_whole_reports_in_many_phrasings(language: str) -> None:
    assert len(list((PHRASINGS / language).glob("*.txt"))) >= 50
    check(written(PHRASINGS / language))


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "nl"])
def test_300_made_up_reports(language: str) -> None:
    check(made_up(language, 300))


@pytest.mark.real
@pytest.mark.parametrize("language", ["dutch", "english"])
def test_real_reports(real_data: Path, tmp_path: Path, language: str) -> None:
    folder = real_data / "dragon-reports" / language
    if not folder.is_dir():
        pytest.skip(f"no reports at {folder}")
    found = mine(folder, tmp_path / "t.csv")
    by_report: dict[str, list[dict[str, Any]]] = {}
    for row in found.lesions:
        by_report.setdefault(row["report"][:7], []).append(row)
    for task in ("Task005", "Task016"):
        targets = [row for row in by_report[task] if row["target"] == "target"]
        keys = ("long_axis_mm", "short_axis_mm", "series_number", "image_number")
        assert [tuple(row[key] for key in keys) for row in targets] == TARGETS
        assert {row["lesion_type"] for row in targets} == {"lymph_node"}
        assert {row["timepoint"] for row in targets} == {"follow_up"}
    for task in ("Task017", "Task022"):
        sizes = {(row["lesion_type"], row["long_axis_mm"]) for row in by_report[task]}
        assert sizes == {("pancreas", 43.0), ("lymph_node", 6.0), ("liver", 32.0)}
    nodule = by_report["Task023"][0]
    assert (nodule["lesion_type"], nodule["long_axis_mm"]) == ("lung", 7.0)
    assert (nodule["series_number"], nodule["image_number"]) == (5, 456)
    assert not found.failed


def test_a_report_gives_a_row_with_all_that_it_says() -> None:
    text = "COMPARISON: 2020.\nNodule in the lingula, 12 x 8 mm (3:45), previously 10 x 7 mm."
    (row,) = lesions(text)
    assert text[row["start"] : row["end"]] == "12 x 8 mm" and row["text"] == "12 x 8 mm (3:45)"
    assert text[row["reference_start"] : row["reference_end"]] == "3:45"
    assert (row["previous_long_axis_mm"], row["previous_short_axis_mm"]) == (10.0, 7.0)
    assert (row["lesion_type"], row["timepoint"], row["bound"]) == ("lung", "follow_up", "exact")
    assert tuple(row) == COLUMNS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The spleen measures 12 cm.", "organ"),
        ("Tube tip 3 cm above the carina.", "distance"),
        ("The mass has increased by 3 mm.", "change"),
        ("Axial reconstructions of 3 mm.", "technique"),
        ("A stent of 10 mm.", "device"),
        ("No nodules larger than 5 mm.", "negated"),
        ("The 7 mm nodule is no longer seen.", "negated"),
        ("Sum of diameters: 120 mm.", "sum"),
        ("Fleischner: follow-up of nodules over 6 mm.", "guideline"),
        ("Small liver lesions, all < 1 cm.", "limit"),
        ("A node with a cortex of 5 mm.", "part"),
        ("The wall of the mass is 3 mm thick.", "organ"),
        ("Contact with the aorta over 8 mm.", "distance"),
        ("Previously the nodule was 7 mm.", "previous_only"),
        ("Cortical scar of the kidney (9-193).", "no_size"),
    ],
)
def test_what_is_no_lesion_is_a_row_that_says_why(text: str, reason: str) -> None:
    skipped, last = rows(text)
    assert (skipped["status"], skipped["reason"]) == ("skipped", reason)
    assert (last["status"], last["reason"]) == ("skipped", "no_lesion")


@pytest.mark.parametrize(
    ("text", "now", "was"),
    [
        ("Nodule of 12 mm, previously 10 mm.", 12, 10),
        ("Nodule 12 mm (prior 10).", 12, 10),
        ("The nodule has grown from 10 to 12 mm.", 12, 10),
        ("The nodule that was 10 mm now measures 12 mm.", 12, 10),
        ("Previously the nodule was 10 mm. Now 12 mm.", 12, 10),
        ("Nodule of 12 mm.\nThis was 10 mm before.", 12, 10),
        ("Compared to the CT of May, the nodule is unchanged at 12 mm.", 12, None),
        ("The previously described nodule measures 12 mm.", 12, None),
        ("Nodus van 8 naar 12 mm gegroeid in de long.", 12, 8),
        ("De nodus in de long is nu 12 mm, t.o.v. 8 mm.", 12, 8),
        ("De bekende nodus in de long meet 12 mm, dit was 8 mm.", 12, 8),
    ],
)
def test_sizes_of_before(text: str, now: float, was: float | None) -> None:
    (row,) = lesions(text)
    assert (row["long_axis_mm"], row["previous_long_axis_mm"]) == (now, was)


def test_a_conclusion_says_again() -> None:
    found = rows("Findings: Liver lesion of 32 mm (4:50).\nImpression: liver lesion of 32 mm.")
    assert [row["reason"] for row in found] == [None, "repeated"]


def test_axes() -> None:
    def axes(text: str) -> tuple[float | None, ...]:
        (row,) = lesions(f"Mass in the liver of {text}.")
        return row["long_axis_mm"], row["short_axis_mm"], row["third_axis_mm"]

    assert axes("12 x 30 mm") == (30.0, 12.0, None)
    assert axes("12 x 30 x 20 mm") == (30.0, 20.0, 12.0)
    assert axes("2.0 (AP) x 3.0 (TR) x 4.0 (CC) cm") == (30.0, 20.0, 40.0)
    assert axes("7 mm average diameter (7.5 x 6.4 mm)") == (7.5, 6.4, None)
    assert axes("8 x 6 mm (mean 7 mm)") == (8.0, 6.0, None)
    assert axes("12 mm in short axis") == (None, 12.0, None)
    assert axes("22 mm in long axis and 14 mm in short axis") == (22.0, 14.0, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Comparison: None.\nNodule 5 mm.", "baseline"),
        ("Baseline CT. Nodule of 5 mm.", "baseline"),
        ("Compared to baseline the nodule of 5 mm is unchanged.", "follow_up"),
        ("Nodule 5 mm, previously 4 mm.", "follow_up"),
        ("Nodule of 5 mm.", "unknown"),
        ("Geen eerder onderzoek. In de long een nodus van 5 mm.", "baseline"),
        ("Ten opzichte van de CT van mei: nodus van 5 mm in de long.", "follow_up"),
    ],
)
def test_timepoint(text: str, expected: str) -> None:
    assert {row["timepoint"] for row in rows(text)} == {expected}


def test_no_words_of_a_report_reach_the_table(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    for number in range(20):
        text = marked(made_up_report("en", number))[0].replace(" the ", " Zyxwv ")
        (reports / f"{number:02}.txt").write_text(f"Patient: Zyxwv, 01-02-1903\n{text}")
    (reports / "broken.docx").write_bytes(b"Zyxwv")
    out = tmp_path / "t.csv"
    found = mine(reports, out)
    assert len(found.lesions) > 40 and len(found.failed) == 1
    assert b"Zyxwv" not in out.read_bytes() and b"1903" not in out.read_bytes()
    allowed = set("0123456789 .,-/:;#()[]|&=")
    letters = {"mm", "cm", "x", "by", "series", "image", "se", "im", "ima", "s", "i", "b", "of"}
    letters |= {"slice", "ser", "img", "millimeters", "centimeters", "to", "axial"} | {
        "short",
        "axis",
    }
    for row in found.rows:
        text = (row["text"] or "").lower().replace("mmx", "mm x").replace("cmx", "cm x")
        words = "".join(" " if c in allowed else c for c in text).split()
        assert set(words) <= letters, row["text"]


def test_the_same_bytes_and_nothing_vanishes(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    (reports / "deep").mkdir(parents=True)
    (reports / "deep" / "b.txt").write_text("Nodule of 12 mm.")
    (reports / "=cmd.txt").write_text("Liver lesion of 9 mm.")
    (reports / "empty.txt").write_text("")
    (reports / "scan.pdf").write_text("x")
    names = []
    for out in ("one.csv", "reports/two.csv", "reports/two.csv"):
        mine(reports, tmp_path / out)
        with (tmp_path / out).open(newline="") as file:
            names.append([(row["report"], row["reason"]) for row in csv.DictReader(file)])
    assert (tmp_path / "one.csv").read_bytes() == (reports / "two.csv").read_bytes()
    assert names[0] == [
        ("'=cmd.txt", ""), ("deep/b.txt", ""), ("empty.txt", "no_lesion"),
        ("scan.pdf", "unsupported_format"),
    ]  # fmt: skip


def test_a_folder_that_is_none_or_empty_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        mine(tmp_path / "nowhere", tmp_path / "t.csv")
    with pytest.raises(SourceError, match="holds no files"):
        mine(tmp_path, tmp_path / "t.csv")


@pytest.mark.parametrize(
    "text",
    [
        "1 x " * 40_000, "(1:" * 40_000, "1, " * 40_000, "12 mm " * 20_000, "no " * 40_000,
        "series " * 20_000, "| " * 40_000, "a.b" * 40_000, "12 mm (3:4) " * 8_000, "\n" * 100_000,
        "previously 12 mm, " * 6_000, "-" * 100_000, "lesion " * 20_000, "1/2/3 " * 20_000,
    ],
    ids=range(14),
)  # fmt: skip
@pytest.mark.slow
def test_hostile_texts_end(text: str) -> None:
    try:
        assert rows(text)
    except CaseError as error:
        assert error.reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    "text",
    [
        "Nodule 22 mm in long axis (Zyxwv, 12-03-1951) and 14 mm in short axis.",
        "Lesion in the liver 12 Zyxwv x 8 mm (series 4, Zyxwv image 52).",
        "Zyxwv 12 x 8 mm Zyxwv nodule of the lung (3:45 Zyxwv).",
        "Lesion | Long axis (mm) | Reader | Short axis (mm) | Series | Read by | Image\n"
        "Liver | 41 | Zyxwv 19510312 | 33 | 5 | Zyxwv 19510312 | 22",
        "Lesion | Size (mm) | Se/Im\nLiver | 41 x 33 (Zyxwv) | Zyxwv 5 / 22 Zyxwv",
        "TL1 Zyxwv: node 12 mm, series Zyxwv 3 image 4.",
        "Name: Zyxwv  DOB 12/03/1951  MRN 19510312\nLiver lesion 12 x 8 mm.",
    ],
)
def test_names_beside_and_inside_a_size_are_left_out(text: str) -> None:
    found = rows(text)
    assert lesions(text)
    for row in found:
        said = " ".join(str(value) for value in row.values())
        assert "zyxwv" not in said.lower() and "1951" not in said, said


def test_what_an_hl7_message_says_of_a_patient_is_not_read(tmp_path: Path) -> None:
    message = (
        "MSH|^~\\&|RIS|X|Y|Z|20210101||ORU^R01|1|P|2.5\r"
        "PID|1||19510312^^^ZYXWV||ZYXWV^JAN||19510312|M|||ZYXWV 12 mm lesion\r"
        "NTE|1||Zyxwv liver lesion of 9 mm\r"
        "OBX|1|TX|r||Zyxwv, 12/03/1951: liver lesion\\.br\\12 x 8 mm "
        "\\X28\\series 3, image 45\\X29\\\r"
    )
    (tmp_path / "a.hl7").write_text(message)
    mine(tmp_path / "a.hl7", tmp_path / "t.csv")
    table = (tmp_path / "t.csv").read_text()
    assert "12 x 8 mm (series 3, image 45)" in table and "9 mm" not in table
    assert "zyxwv" not in table.lower() and "1951" not in table
