"""LIDC's XML: what was written is what is read, by whom is not, and nothing grows unbounded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.sources.lidc import xml as lidc_xml
from uls_data.sources.lidc.xml import Contour, Readings, read_readings

SERIES, STUDY = "1.3.6.1.4.1.14519.5.2.1.6279.6001.1", "1.3.6.1.4.1.14519.5.2.1.6279.6001.2"
NAMES = lidc_xml._CHARACTERISTICS
SCORED = "".join(f"<{name}>{at % 5 + 1}</{name}>" for at, name in enumerate(NAMES))
SQUARE = ((10, 20), (12, 20), (12, 22), (10, 22), (10, 20))
Path2D = Sequence[tuple[int, int]]


def points(path: Path2D, tag: str = "edgeMap") -> str:
    return "".join(f"<{tag}><xCoord>{x}</xCoord><yCoord>{y}</yCoord></{tag}>" for x, y in path)


def roi(path: Path2D = SQUARE, z: object = -12.5, inclusion: str = "TRUE", sop: str = "1.2") -> str:
    place = f"<imageZposition>{z}</imageZposition><imageSOP_UID>{sop}</imageSOP_UID>"
    return f"<roi>{place}<inclusion>{inclusion}</inclusion>{points(path)}</roi>"


def nodule(*rois: str, name: str = "7", scores: str | None = SCORED) -> str:
    given = "" if scores is None else f"<characteristics>{scores}</characteristics>"
    body = f"<noduleID>{name}</noduleID>{given}{''.join(rois)}"
    return f"<unblindedReadNodule>{body}</unblindedReadNodule>"


def non_nodule(path: Path2D = ((3, 4),), name: str = "9") -> str:
    place = "<imageZposition>1</imageZposition><imageSOP_UID>1.3</imageSOP_UID>"
    return f"<nonNodule><nonNoduleID>{name}</nonNoduleID>{place}{points(path, 'locus')}</nonNodule>"


def session(*marks: str, who: str = "anon") -> str:
    who = f"<servicingRadiologistID>{who}</servicingRadiologistID>"
    return f"<readingSession>{who}{''.join(marks)}</readingSession>"


def document(
    *sessions: str,
    root: str = "LidcReadMessage",
    namespace: str = ' xmlns="http://www.nih.gov"',
    header: str = f"<SeriesInstanceUid>{SERIES}</SeriesInstanceUid>"
    f"<StudyInstanceUID>{STUDY}</StudyInstanceUID>",
) -> str:
    body = f"<ResponseHeader>{header}</ResponseHeader>{''.join(sessions)}"
    return f"<{root}{namespace}>{body}</{root}>"


def read(folder: Path, text: str | bytes, name: str = "069.xml") -> Readings:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_readings(path)


def refused(folder: Path, text: str | bytes, reason: Reason = Reason.ANNOTATION_UNREADABLE) -> str:
    with pytest.raises(CaseError) as caught:
        read(folder, text)
    assert caught.value.reason == reason
    assert caught.value.detail.startswith("069.xml: ")
    assert str(folder) not in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://www.nih.gov"'])
@pytest.mark.parametrize("spelling", ["SeriesInstanceUid", "SeriesInstanceUID"])
def test_an_outline_a_hole_and_marks(tmp_path: Path, namespace: str, spelling: str) -> None:
    header = f"<{spelling}> {SERIES}\n</{spelling}><StudyInstanceUID>{STUDY}</StudyInstanceUID>"
    hole = ((11, 21), (11, 21))
    text = document(
        session(nodule(roi(), roi(hole, inclusion="FALSE", sop="1.2.9", z="1e1"))),
        session(),
        session(non_nodule(), nodule(roi(((5, 6),)), name="Nodule 004", scores=None)),
        namespace=namespace,
        header=header,
    )
    readings = read(tmp_path, text)
    assert (readings.series_instance_uid, readings.study_instance_uid) == (SERIES, STUDY)
    assert [reader.number for reader in readings.readers] == [1, 2, 3]
    (found,) = readings.readers[0].nodules
    assert found.nodule_id == "7"
    assert found.characteristics == {name: at % 5 + 1 for at, name in enumerate(NAMES)}
    outline, inner = found.contours
    assert (outline.sop_instance_uid, outline.z_mm, outline.inclusion) == ("1.2", -12.5, True)
    assert outline.points.dtype == np.int32
    assert outline.points.tolist() == [list(point) for point in SQUARE]  # column, row
    assert (inner.sop_instance_uid, inner.z_mm, inner.inclusion) == ("1.2.9", 10.0, False)
    assert readings.readers[1].nodules == readings.readers[1].marks == ()
    small, other = readings.readers[2].marks
    assert (small.mark_id, small.reason) == ("Nodule 004", Reason.POINT_MARK)
    assert (other.mark_id, other.reason) == ("9", Reason.NOT_A_NODULE)
    assert other.contours[0].points.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    "scores", [None, "", SCORED.replace(">3<", ">0<"), "".join(f"<{n}>0</{n}>" for n in NAMES)]
)
def test_what_has_no_scores_is_a_mark_below_3_mm(tmp_path: Path, scores: str | None) -> None:
    # Two nodules of the archive have outlines and no scores: the published labels lack them.
    reader = read(tmp_path, document(session(nodule(roi(), scores=scores)))).readers[0]
    assert reader.nodules == ()
    assert [mark.reason for mark in reader.marks] == [Reason.POINT_MARK]
    assert len(reader.marks[0].contours[0].points) == len(SQUARE)


def test_a_dot_beside_outlines_is_a_mark_of_its_own(tmp_path: Path) -> None:
    text = document(session(nodule(roi(z=1), roi(((11, 21),), z=2), roi(z=3))))
    reader = read(tmp_path, text).readers[0]
    assert [contour.z_mm for contour in reader.nodules[0].contours] == [1, 3]
    (dot,) = reader.marks
    assert (dot.mark_id, dot.reason) == ("7", Reason.POINT_MARK)
    assert [contour.z_mm for contour in dot.contours] == [2]


def test_scores_without_any_outline_are_a_mark(tmp_path: Path) -> None:
    reader = read(tmp_path, document(session(nodule()))).readers[0]
    assert (reader.nodules, reader.marks[0].contours) == ((), ())


def test_readers_are_not_named_and_free_text_goes_nowhere(tmp_path: Path) -> None:
    secret = "Dr. Zyxwv"
    header = (
        f"<SeriesInstanceUid>{SERIES}</SeriesInstanceUid><RequestingSite>{secret}</RequestingSite>"
        f"<ResponseComments>{secret}</ResponseComments>"
    )
    marks = (nodule(roi(), name=secret), non_nodule(name=secret), nodule(roi(), name="IL057_1"))
    text = document(session(*marks, who=secret), header=header)
    readings = read(tmp_path, text)
    assert "Zyxwv" not in repr(readings)
    assert [it.nodule_id for it in readings.readers[0].nodules] == ["nodule-1", "IL057_1"]
    assert [it.mark_id for it in readings.readers[0].marks] == ["non-nodule-1"]


@pytest.mark.parametrize(
    "name", ["0", "123456", "Nodule 012", "_Non-nodule 003", "MI014_18212", "NIHCA0012_4"]
)
def test_names_of_lidc_s_own_kinds_are_kept(tmp_path: Path, name: str) -> None:
    reader = read(tmp_path, document(session(nodule(roi(), name=name)))).readers[0]
    assert reader.nodules[0].nodule_id == name


def test_copies_are_told_by_what_they_hold(tmp_path: Path) -> None:
    header = f"<MessageId>{{}}</MessageId><SeriesInstanceUid>{SERIES}</SeriesInstanceUid>"
    marks = session(nodule(roi()), non_nodule())
    one = read(tmp_path, document(marks, header=header.format("UM1")))
    copy = read(tmp_path, document(marks, header=header.format("UM2")))
    assert one.digest == copy.digest
    moved = ((10, 20), (12, 20), (12, 23), (10, 22), (10, 20))
    others = [
        document(session(nodule(roi(moved)), non_nodule()), header=header.format("UM1")),
        document(session(nodule(roi(inclusion="FALSE")), non_nodule()), header=header.format("")),
        document(session(nodule(roi())), session(non_nodule()), header=header.format("UM1")),
        document(session(non_nodule(), nodule(roi(), name="8")), header=header.format("UM1")),
    ]
    digests = [read(tmp_path, text).digest for text in others]
    assert len({one.digest, *digests}) == 5


def test_a_radiograph_s_reading_is_no_ct(tmp_path: Path) -> None:
    text = document(root="IdriReadMessage", namespace=' xmlns="http://www.nih.gov/idri"')
    assert "chest radiograph" in refused(tmp_path, text, Reason.NOT_CT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (document(root="html"), "LidcReadMessage as its root"),
        (document(namespace=' xmlns="http://example.org"'), "LidcReadMessage as its root"),
        (document(header=""), "names no series"),
        (document(header="<SeriesInstanceUid>one two</SeriesInstanceUid>"), "digits and dots"),
        ("", "no element found"),
        ("<a><b></a>", "line 1, column 8: mismatched tag"),
        (document(session(nodule(roi(z="nan")))), "imageZposition"),
        (document(session(nodule(roi(z="1e999")))), "imageZposition"),
        (document(session(nodule(roi(z="")))), "imageZposition"),
        (document(session(nodule(roi(inclusion="MAYBE")))), "TRUE or FALSE"),
        (document(session(nodule(roi(inclusion="")))), "TRUE or FALSE"),
        (document(session(nodule(roi(sop="")))), "imageSOP_UID"),
        (document(session(nodule(roi(())))), "its points"),
        (document(session(nodule(roi(((-1, 2), (3, 4)))))), "xCoord"),
        (document(session(nodule(roi(((1, 2), (3, 99999)))))), "yCoord"),
        (document(session(nodule(roi(), scores="<margin>high</margin>"))), "margin"),
        (document(session(non_nodule(()))), "locus"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "DTDForbidden"),
        ("<a>&unknown;</a>", "undefined entity"),
        ('<?xml version="1.0" encoding="klingon"?><a/>', "no LIDC reading"),
        (b'<?xml version="1.0" encoding="utf-8"?><a>\xff</a>', "not well-formed"),
    ],
)  # fmt: skip
def test_what_is_no_reading_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_other_encodings_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = document(session(nodule(roi())))
    expected = read(tmp_path, text).digest
    for data in (
        b"\xef\xbb\xbf" + text.encode(),
        ('<?xml version="1.0" encoding="UTF-16"?>' + text).encode("utf-16"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>' + text).encode("latin-1"),
    ):
        assert read(tmp_path, data).digest == expected


@pytest.mark.parametrize("limit", ["elements", "depth", "text"])
def test_every_bound_of_the_tree_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    text = document(session(nodule(roi())))
    read(tmp_path, text)
    few: dict[str, Any] = {limit: 4}
    monkeypatch.setattr(lidc_xml, "BOUNDS", replace(lidc_xml.BOUNDS, **few))
    refused(tmp_path, text, Reason.TOO_LARGE)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("MAXIMUM_BYTES", document(session(nodule(roi())))),
        ("MAXIMUM_READERS", document(*[session()] * 5)),
        ("MAXIMUM_MARKS", document(session(*[nodule(scores=None)] * 3, *[non_nodule()] * 2))),
        ("MAXIMUM_CONTOURS", document(session(nodule(*[roi()] * 5)))),
        ("MAXIMUM_POINTS", document(session(nodule(roi())))),
    ],
)
def test_every_bound_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, text: str
) -> None:
    read(tmp_path, text)
    monkeypatch.setattr(lidc_xml, limit, 4)
    refused(tmp_path, text, Reason.TOO_LARGE)


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.xml")
    for path in (tmp_path, tmp_path / "pipe.xml", tmp_path / "missing.xml"):
        with pytest.raises(CaseError) as caught:
            read_readings(path)
        assert caught.value.reason == Reason.UNREADABLE


coordinates = st.integers(0, lidc_xml.LARGEST_INDEX)
contours = st.builds(
    Contour,
    st.from_regex(r"[1-9](\.[0-9]{1,9}){0,5}", fullmatch=True),
    st.floats(-1e5, 1e5).map(lambda value: round(value, 6)),
    st.booleans(),
    st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=9).map(
        lambda path: np.array(path, dtype=np.int32)
    ),
)


@given(st.lists(st.lists(st.lists(contours, min_size=1, max_size=3), max_size=3), max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, content: list[list[list[Contour]]]
) -> None:
    def written(contour: Contour) -> str:
        path = [(int(x), int(y)) for x, y in contour.points]
        flag = str(contour.inclusion).upper()
        return roi(path, repr(contour.z_mm), flag, contour.sop_instance_uid)

    sessions = [session(*[nodule(*map(written, it)) for it in reader]) for reader in content]
    readings = read(tmp_path_factory.mktemp("lidc"), document(*sessions))
    assert len(readings.readers) == len(content)
    for reader, marks in zip(readings.readers, content, strict=True):
        assert len(reader.nodules) == len(marks)
        for found, expected in zip(reader.nodules, marks, strict=True):
            for one, other in zip(found.contours, expected, strict=True):
                assert one.sop_instance_uid == other.sop_instance_uid
                assert (one.z_mm, one.inclusion) == (other.z_mm, other.inclusion)
                assert np.array_equal(one.points, other.points)
