"""Hostile LIDC XML ends in CaseError or in readings that hold no text, soon and in little room.

The environment variable ULS_DATA_HOSTILE_XML says how many files there are (40).
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from makers.hostile.limits import at_most, peak_bytes

from uls_data.errors import CaseError
from uls_data.lesions.votes import Agreement
from uls_data.outcome import Reason
from uls_data.sources.lidc.nodules import Span, fill_readings, read_nodules
from uls_data.sources.lidc.outlines import Ring
from uls_data.sources.lidc.xml import Readings, read_readings

CASES = int(os.environ.get("ULS_DATA_HOSTILE_XML", "40"))
PER_BATCH = 20
SEED = 20231029
SECONDS = 60
MAXIMUM_GROWTH = 600_000_000
MARK = "Zyxwv"  # stands for a name that nothing may show
SECRET = "Qponm"  # stands in files that no XML may bring in
LONGEST = 30_000_000  # of a file, more than is ever read
SHAPE = (512, 512, 40)
REASONS = {
    Reason.ANNOTATION_UNREADABLE,
    Reason.NOT_CT,
    Reason.TOO_LARGE,
    Reason.UNREADABLE,
    Reason.IO_ERROR,
}


def ring(x: int, y: int, size: int) -> list[tuple[int, int]]:
    return [(x, y), (x + size, y), (x + size, y + size), (x, y + size), (x, y)]


def roi(slice_index: int, path: list[tuple[int, int]], inclusion: str = "TRUE") -> str:
    points = "".join(
        f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>\n" for x, y in path
    )
    return (
        f"<roi><imageZposition>{-2.5 * slice_index}</imageZposition>"
        f"<imageSOP_UID>1.2.{slice_index}</imageSOP_UID><inclusion>{inclusion}</inclusion>\n"
        f"{points}</roi>\n"
    )


def valid(rng: random.Random) -> str:
    """A file with all that real ones have, and a marker where they have free text."""
    scores = "".join(
        f"<{name}>{rng.randrange(1, 6)}</{name}>"
        for name in ("subtlety", "internalStructure", "calcification", "sphericity", "margin",
                     "lobulation", "spiculation", "texture", "malignancy")
    )  # fmt: skip
    sessions = []
    for reader in range(4):
        x, y = 200 + rng.randrange(4), 300 + rng.randrange(4)
        rois = "".join(roi(at, ring(x, y, 12)) for at in range(10, 14))
        hole = roi(11, ring(x + 4, y + 4, 3), "FALSE")
        sessions.append(
            f"<readingSession><annotationVersion>{MARK}</annotationVersion>"
            f"<servicingRadiologistID>{MARK}</servicingRadiologistID>\n"
            f"<unblindedReadNodule><noduleID>Nodule 00{reader}</noduleID><characteristics>{scores}"
            f"</characteristics>\n{rois}{hole}</unblindedReadNodule>\n"
            f"<unblindedReadNodule><noduleID>{MARK}</noduleID>{roi(3, [(9, 9)])}"
            f"</unblindedReadNodule>\n"
            f"<nonNodule><nonNoduleID>{MARK}</nonNoduleID><imageZposition>5</imageZposition>"
            f"<imageSOP_UID>1.2.2</imageSOP_UID><locus><xCoord>7</xCoord><yCoord>8</yCoord></locus>"
            f"</nonNodule></readingSession>\n"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<LidcReadMessage uid="{MARK}" xmlns="http://www.nih.gov">\n<ResponseHeader>'
        f"<RequestingSite>{MARK}</RequestingSite><CtImageFile>{MARK}</CtImageFile>"
        f"<SeriesInstanceUid>1.3.6.1</SeriesInstanceUid><StudyInstanceUID>1.3.6.2"
        f"</StudyInstanceUID></ResponseHeader>\n{''.join(sessions)}</LidcReadMessage>\n"
    )


VALUES = (
    "", " ", "0", "-0", "-1", "+5", "1.5", "1e3", "16384", "16385", "99999999999999999999",
    "9" * 5000, "nan", "NaN", "inf", "-inf", "1e999", "-1e999", "1e-999", "0x10", "1_0", "1,5",
    "\u0661", "\u00bd", "\u202e1", "1\u00a0", "\ufeff1", "\U0001f600", "TRUE", "FALSE", "true",
    "None", MARK, f"{MARK} {MARK}", f"1.2.{MARK}", "<![CDATA[7]]>", f"<![CDATA[{MARK}]]>",
    f"<b>{MARK}</b>", f"<!-- {MARK} -->7", f"<?{MARK} x?>7", "&lt;7", "&#0;", "&#xD800;", "&#55;",
    f"&{MARK};", "&amp;" * 3000, "x" * 100_000, "../../etc/passwd", "1.2" + ".3" * 40,
)  # fmt: skip
_TEXT = re.compile(r"(?<=>)[^<>]+(?=</)")
_TAG = re.compile(r"</?[A-Za-z_]+[^<>]*>")


def other_texts(rng: random.Random, text: str) -> str:
    """Other values in some of the places that hold text."""
    often = rng.choice((0.002, 0.05, 1.0))
    return _TEXT.sub(lambda it: rng.choice(VALUES) if rng.random() < often else it[0], text)


def marked_texts(rng: random.Random, text: str) -> str:
    """A name in every place that holds text, or in all of one kind."""
    names = sorted(set(re.findall(r"<([A-Za-z_]+)>[^<>]+</", text)))
    name = rng.choice([*names, "[A-Za-z_]+"])
    return re.sub(rf"(?<=<)({name})>[^<>]*(?=</)", rf"\1>{MARK}", text)


def other_tags(rng: random.Random, text: str) -> str:
    found = list(_TAG.finditer(text))
    it = rng.choice(found)
    tag = rng.choice(("", f"<{MARK}>", "</roi>", "<roi>", "<readingSession>", "<a xmlns='x'>", "<"))
    return text[: it.start()] + tag + text[it.end() :]


def no_end(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text))]


def deep(rng: random.Random, text: str) -> str:
    depth = rng.choice((20, 200, 200_000))
    name = rng.choice(("roi", "a", "readingSession", MARK))
    nested = f"<{name}>" * depth + MARK + f"</{name}>" * depth
    return text.replace("<roi>", nested + "<roi>", 1)


def many(rng: random.Random, text: str) -> str:
    """A great many of one part."""
    part, count = rng.choice(
        (
            ("<edgeMap><xCoord>1</xCoord><yCoord>1</yCoord></edgeMap>", 150_000),
            ("<edgeMap><xCoord>{}</xCoord><yCoord>{}</yCoord></edgeMap>", 4000),
            ("<a/>", 700_000),
            (roi(12, ring(0, 0, 16_000)), 40_000),
            (roi(12, ring(0, 0, 500)), 3_000),
        )
    )
    count = rng.choice((count, count // 40))
    parts = [part.replace("{}", str(rng.randrange(16_000))) for _ in range(min(count, 4000))]
    inside = "</inclusion>" if "<roi" not in part else "</characteristics>"
    return text.replace(inside, inside + "".join(parts) * (count // len(parts)), 1)


def many_sessions(rng: random.Random, text: str) -> str:
    session = text[text.find("<readingSession>") : text.find("</readingSession>") + 17]
    return text.replace(session or "<", session * rng.choice((8, 70, 900)), 1)


def entities(rng: random.Random, text: str) -> str:
    """Bombs, files and addresses brought in by entities or a DTD."""
    laughs = "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, 12))
    inside = rng.choice(
        (
            f'<!ENTITY b0 "{MARK}">{laughs}',
            f'<!ENTITY b11 "{MARK * 20_000}">',
            '<!ENTITY b11 SYSTEM "secret.txt">',
            '<!ENTITY b11 SYSTEM "file:///{base}/secret.txt">',
            '<!ENTITY b11 SYSTEM "http://127.0.0.1:9/x">',
            '<!ENTITY % p SYSTEM "file:///{base}/secret.dtd"> %p;',
            '<!ENTITY b11 "b"><!ATTLIST roi x CDATA "&b11;">',
            "<!ELEMENT roi ANY>",
            "",
        )
    )
    kind = rng.choice(("LidcReadMessage", 'LidcReadMessage SYSTEM "file:///{base}/secret.dtd"'))
    doctype = f"<!DOCTYPE {kind} [{inside}]>"
    used = rng.choice(("&b11;", "&b11;" * 50, ""))
    text = text.replace("?>\n", f"?>\n{doctype}\n", 1)
    return _TEXT.sub(used or "1", text, count=rng.choice((1, 9)))


def included(_rng: random.Random, text: str) -> str:
    """A file brought in by XInclude."""
    include = '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text" href="{}"/>'
    return text.replace("<roi>", include.format("file:///{base}/secret.txt") + "<roi>", 1)


def other_root(rng: random.Random, text: str) -> str:
    root = rng.choice(("IdriReadMessage", MARK, "html", "lidcreadmessage", "ResponseHeader"))
    text = text.replace("LidcReadMessage", root)
    return text.replace("http://www.nih.gov", rng.choice(("http://www.nih.gov/idri", MARK, "x")))


CHANGES: tuple[Callable[[random.Random, str], str], ...] = (
    other_texts, other_texts, marked_texts, marked_texts, other_tags, no_end, deep, many,
    many_sessions, entities, entities, included, other_root, lambda _rng, text: text,
)  # fmt: skip


def as_bytes(rng: random.Random, text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    match rng.randrange(12):
        case 0:
            return text.encode(rng.choice(("utf-16", "utf-32", "utf-16-le", "cp037")), "replace")
        case 1:
            names = ("UTF-16", "utf-7", "latin-1", "cp1252", "klingon", "idna", "utf-8-sig", "hex")
            return data.replace(b"UTF-8", rng.choice(names).encode(), 1)
        case 2:
            return b"\xef\xbb\xbf" * rng.randrange(1, 4) + data
        case 3:
            at = rng.randrange(len(data) + 1)
            return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:]
        case 4:
            return rng.choice((b"", b"\0" * 999, rng.randbytes(4000), b"<", b"PK\x03\x04" + data))
        case 5:
            return data + rng.choice((b"\0", b"<a/>", b" " * (17 << 20)))
        case _:
            return data


def make(base: Path, number: int) -> Path:
    rng = random.Random(f"{SEED}-{number}")
    text = valid(rng)
    for _ in range(rng.choice((1, 1, 1, 2))):
        text = rng.choice(CHANGES)(rng, text)[:LONGEST]
    path = base / f"{number:03d}.xml"
    path.write_bytes(as_bytes(rng, text).replace(b"{base}", os.fsencode(base)))
    return path


def slice_of(contour: object) -> int | None:
    uid = str(getattr(contour, "sop_instance_uid", ""))
    last = uid.rpartition(".")[2]
    return int(last) if last.isdigit() and int(last[:9]) < SHAPE[2] else None


def used(readings: Readings) -> None:
    """Go on with what was read as a build does: all of it must be usable."""
    assert readings.digest
    filled = fill_readings(readings, slice_of, SHAPE, Ring.OUTSIDE)
    nodules = read_nodules(filled.readings, Agreement.MAJORITY, Span.LONGEST)
    for nodule in nodules:
        for _, voxels in nodule.layers:
            assert (voxels >= 0).all() and (voxels < SHAPE).all()


@pytest.mark.parametrize("batch", range(-(-CASES // PER_BATCH)))
def test_batch(tmp_path: Path, batch: int) -> None:
    (tmp_path / "secret.txt").write_text(SECRET, encoding="utf-8")
    (tmp_path / "secret.dtd").write_text(f'<!ENTITY b11 "{SECRET}">', encoding="utf-8")
    problems = []
    before = peak_bytes()
    for number in range(batch * PER_BATCH, min((batch + 1) * PER_BATCH, CASES)):
        path = make(tmp_path, number)
        with at_most(SECONDS, f"file {number}"):
            try:
                readings = read_readings(path)
                used(readings)
                shown = repr(readings)
            except CaseError as error:
                shown = error.detail
                if error.reason not in REASONS:
                    problems.append(f"{number}: {error.reason}")
                if not shown.startswith((path.name, "series ")) or len(shown) > 500:
                    problems.append(f"{number}: says {shown[:200]!r}")
        problems += [
            f"{number}: shows {what}" for what in (MARK, SECRET, str(tmp_path)) if what in shown
        ]
        path.unlink()
    assert not problems, "\n".join(problems)
    growth = peak_bytes() - before
    assert growth < MAXIMUM_GROWTH, f"memory grew by {growth:,} bytes"


def test_the_file_that_all_start_from_is_read(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    path = tmp_path / "valid.xml"
    path.write_text(valid(rng), encoding="utf-8")
    readings = read_readings(path)
    assert MARK not in repr(readings)
    filled = fill_readings(readings, slice_of, SHAPE, Ring.OUTSIDE)
    (nodule,) = read_nodules(filled.readings)
    assert nodule.agreement == 4
    assert [len(reader.marks) for reader in readings.readers] == [2] * 4
