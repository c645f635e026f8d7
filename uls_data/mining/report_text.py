"""Text of report files, read as untrusted input: bounded, from inside the folder, never a pipe."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.io.links import real_path
from uls_data.mining.docx import docx_text
from uls_data.mining.hl7 import is_hl7, messages
from uls_data.outcome import Reason
from uls_data.volumes.volume import check_file

# A report has some 5,000 characters; exports of many messages in one file are larger.
MAXIMUM_BYTES = 32 << 20
MAXIMUM_CHARACTERS = 1 << 20
SUFFIXES = (".txt", ".text", ".md", ".markdown", ".docx", ".hl7", ".oru")
_MARKDOWN = (".md", ".markdown")
_HL7 = (".hl7", ".oru")
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x7f\ufffe\uffff]")
_FENCE = re.compile(r"[ \t]{0,3}(```+|~~~+)")


def read_reports(path: Path, root: Path) -> list[str]:
    r"""Read the reports of one file: one, or one per message of an HL7 file.

    Offsets that `mine` writes count characters of these texts, from 0. Line ends are `\n`. A
    Markdown file that holds fenced blocks is blank outside of them: there the report is quoted,
    and what is said about it is not the report. Blanks stand in, so that offsets are the file's.

    Parameters
    ----------
    path, root : Path
        The file, and the folder that it must lie in.

    Raises
    ------
    CaseError
        `unsupported_format`, `path_leaves_root`, `unreadable`, `too_large`, `io_error`; the
        message holds no text of the report.
    """
    name = readable(path.name)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise CaseError(
            Reason.UNSUPPORTED_FORMAT,
            f"{name}: expected {', '.join(SUFFIXES)}; save the report as one of them",
        )
    data = _bytes(path, root, name)
    if suffix == ".docx":
        texts = [docx_text(data, name)]
    else:
        text = _decoded(data, name)
        if suffix in _HL7 or is_hl7(text):
            texts = messages(text, name)
        else:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            texts = [_quoted(text) if suffix in _MARKDOWN else text]
    if max(map(len, texts)) > MAXIMUM_CHARACTERS:
        raise CaseError(
            Reason.TOO_LARGE, f"{name}: expected a report of at most {MAXIMUM_CHARACTERS:,} letters"
        )
    return texts


def _bytes(path: Path, root: Path, name: str) -> bytes:
    try:
        if not real_path(path).is_relative_to(root.resolve()):
            raise CaseError(
                Reason.PATH_LEAVES_ROOT, f"{name}: a link out of the folder; copy the file into it"
            )
        check_file(path)
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise CaseError(Reason.IO_ERROR, f"{name}: {what}") from error
    if len(data) > MAXIMUM_BYTES:
        raise CaseError(Reason.TOO_LARGE, f"{name}: expected at most {MAXIMUM_BYTES:,} bytes")
    return data


def _decoded(data: bytes, name: str) -> str:
    """Text of bytes: UTF-16 where a byte-order mark says so, UTF-8, else Windows' Latin."""
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = data.decode("utf-16")
        else:
            text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    # HL7 is framed by the control characters VT and FS.
    if found := _NO_TEXT.search(text):
        raise CaseError(
            Reason.UNREADABLE,
            f"{name}: character {found.start()} is not a character of a text; save it as text",
        )
    # Some systems write an accent as a character of its own.
    return unicodedata.normalize("NFC", text)


def _quoted(text: str) -> str:
    """Text with blanks for what stands outside of fenced blocks, where there are any."""
    said, fence, fenced = list[str](), "", False
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        inside = bool(fence)
        if mark and not fence:
            fence, fenced = mark[1], True
        elif mark and fence and line.strip() == fence:
            fence, inside = "", False
        said.append(line if inside else " " * len(line))
    return "\n".join(said) if fenced else text
