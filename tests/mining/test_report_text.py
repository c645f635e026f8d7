"""Report files: encodings, Markdown, Word, HL7, and what is refused."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from uls_data.errors import CaseError
from uls_data.mining import docx
from uls_data.mining.report_text import MAXIMUM_BYTES, read_reports
from uls_data.outcome import Reason

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MARK = "Zyxwv"


def written(folder: Path, name: str, data: bytes) -> list[str]:
    (folder / name).write_bytes(data)
    return read_reports(folder / name, folder)


def word(body: str, before: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        xml = f'<?xml version="1.0"?>{before}<w:document xmlns:w="{W}"><w:body>{body}</w:body>'
        archive.writestr("word/document.xml", xml + "</w:document>")
        archive.writestr("word/header1.xml", f"<w:hdr>{MARK}</w:hdr>")
    return data.getvalue()


def refused(folder: Path, name: str, data: bytes) -> Reason:
    with pytest.raises(CaseError) as caught:
        written(folder, name, data)
    assert MARK not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    assert written(tmp_path, "a.txt", "partiële 3 à 4 mm".encode(encoding)) == ["partiële 3 à 4 mm"]


def test_line_ends_are_one(tmp_path: Path) -> None:
    assert written(tmp_path, "a.txt", b"a\r\nb\rc\n") == ["a\nb\nc\n"]


def test_markdown_gives_its_fenced_block_at_its_place(tmp_path: Path) -> None:
    text = "# Label: 43\n```\nlesion 12 mm\n```\nabout 9 mm\n"
    (read,) = written(tmp_path, "a.md", text.encode())
    assert read.split() == ["lesion", "12", "mm"]
    assert read.index("12") == text.index("12") and len(read) == len(text)
    assert written(tmp_path, "b.md", b"# Lesion\n12 mm") == ["# Lesion\n12 mm"]


def test_word_body_and_tables(tmp_path: Path) -> None:
    cell = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    row = "<w:tr>" + cell.format("Liver") + cell.format("12 mm") + "</w:tr>"
    deleted = "<w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
    runs = "<w:r><w:t>Nodule </w:t></w:r><w:r><w:t>8 mm</w:t></w:r><w:br/>"
    (text,) = written(tmp_path, "a.docx", word(f"<w:p>{runs}{deleted}</w:p><w:tbl>{row}</w:tbl>"))
    assert text.splitlines() == ["Nodule 8 mm", "", "Liver \t12 mm \t"]


ENTITY = f'<!DOCTYPE d [<!ENTITY x "{MARK}">]>'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no zip at all " + MARK.encode(), Reason.UNREADABLE),
        (word("<w:p>", ""), Reason.UNREADABLE),
        (word("<w:p/>", ENTITY), Reason.UNREADABLE),
        (word("<w:p>" * 300 + "</w:p>" * 300), Reason.TOO_LARGE),
        (word("<w:p/>")[:-40], Reason.UNREADABLE),
    ],
    ids=["no zip", "not closed", "entity", "deep", "truncated"],
)
def test_hostile_word(tmp_path: Path, data: bytes, reason: Reason) -> None:
    assert refused(tmp_path, "a.docx", data) == reason


def test_zip_bomb_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docx, "MAXIMUM_XML_BYTES", 1 << 20)
    bomb = word(f"<w:p><w:r><w:rPr>{' ' * (4 << 20)}</w:rPr></w:r></w:p>")
    assert len(bomb) < 1 << 16
    assert refused(tmp_path, "a.docx", bomb) == Reason.TOO_LARGE


HL7 = (
    "MSH|^~\\&|RIS|X|Y|Z|20210101||ORU^R01|1|P|2.5\r"
    f"PID|1||123^^^{MARK}||{MARK}^{MARK}\r"
    "OBR|1|||CT\r"
    "OBX|1|TX|r||Nodule 12 x 8 mm\\.br\\(series 3, image 45)~Liver normal\r"
    "OBX|2|NM|w||80\r"
    "OBX|3|FT|r||A \\T\\ B \\X0D\\end\r"
)


@pytest.mark.parametrize("name", ["a.hl7", "a.txt"])
def test_hl7_gives_observations_alone(tmp_path: Path, name: str) -> None:
    (text,) = written(tmp_path, name, f"\x0b{HL7}\x1c\r".encode())
    assert text.split("\n") == [
        "Nodule 12 x 8 mm", "(series 3, image 45)", "Liver normal", "A & B ", "end",
    ]  # fmt: skip


def test_hl7_gives_a_report_per_message(tmp_path: Path) -> None:
    texts = written(tmp_path, "a.hl7", ("FHS|^~\\&\rBHS|^~\\&\r" + HL7 * 3 + "BTS|3\r").encode())
    assert len(texts) == 3


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", b"%PDF", Reason.UNSUPPORTED_FORMAT),
        ("noname", b"12 mm", Reason.UNSUPPORTED_FORMAT),
        ("a.txt", b"%PDF\0\1\2" + MARK.encode(), Reason.UNREADABLE),
        ("a.hl7", b"12 mm " + MARK.encode(), Reason.UNREADABLE),
        ("a.txt", b"x" * (MAXIMUM_BYTES + 1), Reason.TOO_LARGE),
        ("a.txt", b"12 mm " * 200_000, Reason.TOO_LARGE),
    ],
    ids=["pdf", "no suffix", "binary", "no hl7", "huge", "long"],
)
def test_refused_files(tmp_path: Path, name: str, data: bytes, reason: Reason) -> None:
    assert refused(tmp_path, name, data) == reason


def test_links_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("12 mm")
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "a.txt").symlink_to(tmp_path / "outside.txt")
    os.mkfifo(folder / "b.txt")
    (folder / "c.txt").symlink_to(folder / "c.txt")
    for name, reason in [
        ("a.txt", Reason.PATH_LEAVES_ROOT), ("b.txt", Reason.UNREADABLE), ("c.txt", Reason.IO_ERROR)
    ]:  # fmt: skip
        with pytest.raises(CaseError) as caught:
            read_reports(folder / name, folder)
        assert caught.value.reason == reason
