"""The table of what was found in reports, and the command's function."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError, SourceError
from uls_data.ids import readable, request_name
from uls_data.mining.confidence import confidence_of
from uls_data.mining.kinds import Kind
from uls_data.mining.lexicon import Words, folded, lexicons
from uls_data.mining.mention import Mention
from uls_data.mining.mentions import read_mentions
from uls_data.mining.report_text import read_reports
from uls_data.mining.sizes import Size
from uls_data.mining.timepoint import timepoint_of
from uls_data.mining.word_places import Page, language_of, squeezed
from uls_data.outcome import Reason, Status
from uls_data.tables import Record, write_csv
from uls_data.volumes.raw_root import RawRoot

COLUMNS = (
    "report", "part", "lesion", "status", "reason", "detail", "start", "end", "text", "language",
    "timepoint", "target", "lesion_type", "long_axis_mm", "short_axis_mm", "third_axis_mm",
    "range_low_mm", "bound", "previous_long_axis_mm", "previous_short_axis_mm", "series_number",
    "image_number", "reference_start", "reference_end", "negated", "confidence",
)  # fmt: skip


_WORD = re.compile(r"[^\W\d_]+")


class NotTaken(StrEnum):
    """Why a measurement of a report is not a lesion of the table (`status` skipped)."""

    ORGAN = "organ"
    PART = "part"
    LIMIT = "limit"
    DISTANCE = "distance"
    CHANGE = "change"
    TECHNIQUE = "technique"
    DEVICE = "device"
    GUIDELINE = "guideline"
    SUM = "sum"
    UNCLEAR = "unclear"
    NEGATED = "negated"
    REPEATED = "repeated"
    PREVIOUS_ONLY = "previous_only"
    NO_SIZE = "no_size"


@dataclass(frozen=True)
class MineReport:
    """What `mine` found.

    Attributes
    ----------
    rows : list of dict
        As written, in the table's order.
    reports : int
        Reports that were read.
    """

    rows: list[Record]
    reports: int

    @property
    def lesions(self) -> list[Record]:
        """Rows of lesions (`status` ok)."""
        return [row for row in self.rows if row["status"] == Status.OK]

    @property
    def failed(self) -> list[Record]:
        """Rows of files that could not be read."""
        return [row for row in self.rows if row["status"] == Status.FAILED]

    def counts(self) -> Counter[tuple[str, str]]:
        """Count rows by status and reason."""
        return Counter((row["status"], row["reason"] or "") for row in self.rows)


def mine(
    reports: Path | str,
    out: Path | str,
    *,
    lexicon: Path | str | None = None,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> MineReport:
    """Find measured lesions in radiology reports, and write them as a CSV table.

    Every measurement is a row with the characters that it came from; so is every file that
    cannot be read, and every report without a lesion. No words of a report reach the table but
    the size itself and its reference to series and image. The same reports give the same bytes.

    Parameters
    ----------
    reports : path
        A report, or a folder of them (.txt, .md, .docx, .hl7), searched with its subfolders.
    out : path
        The table; docs/reports.md tells its columns.
    lexicon : path, optional
        YAML with words to add to those of a language, or with a new language.
    started, progress : callable, optional
        Called with the number of files, then with the lesions of each.

    Raises
    ------
    SourceError
        There is no such folder, or it cannot be read.
    LexiconError
        The lexicon cannot be used.
    """
    root, out = Path(reports), Path(out)
    words = lexicons(Path(lexicon) if lexicon is not None else None)
    files, unlisted = _files(root, out)
    if started is not None:
        started(len(files))
    base = root if root.is_dir() else root.parent
    rows: list[Record] = [_failed(name, detail) for name, detail in sorted(unlisted.items())]
    count = 0
    for name in files:
        made = list(_rows_of_file(base / name, base, name, words))
        rows += made
        count += len({row["part"] for row in made if row["status"] != Status.FAILED})
        if progress is not None:
            progress(sum(row["status"] == Status.OK for row in made))
    write_csv(out, rows or [dict.fromkeys(COLUMNS)])
    return MineReport(rows, count)


def _files(root: Path, out: Path) -> tuple[list[str], dict[str, str]]:
    """Names of all files below a folder, sorted; and folders that could not be listed."""
    if root.is_file():
        return [root.name], {}
    if not root.is_dir():
        raise SourceError(f"{root}: no such file or folder of reports")
    raw = RawRoot(root)
    names = sorted(name for name, _ in raw.entries() if (root / name).resolve() != out.resolve())
    if not names and not raw.unlisted:
        raise SourceError(f"{root}: holds no files; expected reports as .txt, .md, .docx or .hl7")
    return names, {
        name: f"{readable(name)}: the folder could not be listed: {why}"
        for name, why in raw.unlisted.items()
    }


def _row(name: str, part: int | None, status: Status, reason: str | None) -> Record:
    row: Record = dict.fromkeys(COLUMNS)
    return row | {"report": readable(name), "part": part, "status": status.value, "reason": reason}


def _failed(name: str, detail: str, reason: Reason = Reason.FOLDER_UNREADABLE) -> Record:
    return _row(name, None, Status.FAILED, reason.value) | {"detail": detail}


def _rows_of_file(path: Path, root: Path, name: str, words: list[Words]) -> Iterator[Record]:
    try:
        texts = read_reports(path, root)
    except CaseError as error:
        yield _failed(name, error.detail, error.reason)
        return
    for number, text in enumerate(texts, start=1):
        part = number if len(texts) > 1 else None
        try:
            yield from rows_of_report(text, name, part, words)
        except CaseError as error:
            yield _failed(name, f"{readable(path.name)}: {error.detail}", error.reason) | {
                "part": part
            }
        except Exception as error:
            # A report of its own must not end the work on all others, nor show its words.
            detail = f"{readable(path.name)}: {type(error).__name__} while it was read"
            yield _failed(name, detail, Reason.INTERNAL_ERROR) | {"part": part}


def rows_of_report(text: str, name: str, part: int | None, words: list[Words]) -> Iterator[Record]:
    """Rows of one report, in the order of the text; the last says so where it has no lesion."""
    page = Page(text, language_of(text, words))
    mentions = read_mentions(page)
    when = timepoint_of(page, mentions)
    shared = {"language": page.words.language, "timepoint": when}
    made = [_mention_row(page, mention, name, part) | shared for mention in mentions]
    yield from made
    if not any(row["status"] == Status.OK for row in made):
        yield _row(name, part, Status.SKIPPED, Reason.NO_LESION.value) | shared


def _mention_row(page: Page, mention: Mention, name: str, part: int | None) -> Record:
    reason = _reason(mention)
    row = _row(name, part, Status.SKIPPED if reason else Status.OK, reason)
    start, end = mention.span
    size, reference = mention.size, mention.reference
    row |= {
        "lesion": request_name([name, f"{part}", page.raw, f"{start} {end}"]),
        "start": start,
        "end": end,
        "text": _written(page, mention),
        "target": mention.target,
        "lesion_type": mention.lesion_type.value,
        "negated": mention.negated,
        "confidence": confidence_of(mention),
    }
    if mention.previous_only:
        row |= _axes(size, "previous_")
    elif size is not None:
        row |= _axes(size, "") | {"range_low_mm": size.low_mm, "bound": size.bound}
    if mention.previous is not None:
        row |= _axes(mention.previous, "previous_")
    if reference is not None:
        row |= {
            "series_number": reference.series,
            "image_number": reference.image,
            "reference_start": reference.start,
            "reference_end": reference.end,
        }
    return {column: row[column] for column in COLUMNS}


def _written(page: Page, mention: Mention) -> str:
    """Size and reference as the report writes them, without any word that is not theirs."""
    told = [
        " ".join(page.raw[slice(*span)] for span in one.parts or (one.span,))
        for one in (mention.size, mention.reference)
        if one is not None
    ]
    text = squeezed(told[0] if len(told) == 1 else f"{told[0]} ({told[1]})")
    known = page.words.measure_words
    return _WORD.sub(lambda word: word[0] if folded(word[0].lower()) in known else "…", text)


def _reason(mention: Mention) -> str | None:
    if mention.kind != Kind.LESION:
        return NotTaken(mention.kind.value).value
    if mention.negated:
        return NotTaken.NEGATED.value
    if mention.previous_only:
        return NotTaken.PREVIOUS_ONLY.value
    if mention.size is None:
        return NotTaken.NO_SIZE.value
    return NotTaken.REPEATED.value if mention.repeated else None


def _axes(size: Size | None, prefix: str) -> dict[str, Any]:
    """Long, short and third axis: by their names, else by length.

    The third is the craniocaudal one where the report says which that is; otherwise it is
    the shortest.
    """
    if size is None:
        return {}
    named = dict(zip(size.labels, size.axes_mm, strict=True))
    third = None
    if len(size.axes_mm) == 3:
        rest = sorted(size.axes_mm, reverse=True)
        third = named.get("craniocaudal", rest[-1])
        rest.remove(third)
    else:
        rest = sorted(size.axes_mm, reverse=True)
    long_, short = rest[0], rest[1] if len(rest) > 1 else None
    axes: dict[str, Any] = {f"{prefix}long_axis_mm": long_, f"{prefix}short_axis_mm": short}
    if size.labels == ("short",):
        axes = {f"{prefix}long_axis_mm": None, f"{prefix}short_axis_mm": long_}
    return axes if prefix else axes | {"third_axis_mm": third}
