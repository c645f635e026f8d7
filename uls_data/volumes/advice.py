"""From what a file turns out to be to what to do about it: one table, by first bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from uls_data.errors import CaseError
from uls_data.outcome import Reason

# Enough to know any of them.
LOOKED_AT_BYTES = 512
_AGAIN = "download it again"
_SIGNED_IN = f"{_AGAIN}, signed in if the source asks for it"


@dataclass(frozen=True)
class _Finding:
    pattern: re.Pattern[bytes]
    found: str
    advice: str


def _table(*lines: tuple[str, str, str]) -> tuple[_Finding, ...]:
    return tuple(
        _Finding(re.compile(pattern.encode("latin-1"), re.DOTALL | re.IGNORECASE), found, advice)
        for pattern, found, advice in lines
    )


_FINDINGS = _table(
    (r"\Z", "an empty file", _AGAIN),
    (r"\0{64}\0*\Z", "nothing but zero bytes", f"{_AGAIN}; the disk or the transfer lost it"),
    (
        r"version https://git-lfs",
        "a Git LFS pointer instead of the file",
        "run `git lfs pull` in the clone, or download the file itself",
    ),
    (r"(\xef\xbb\xbf)?\s*<(!doctype html|html)", "a web page instead of the file", _SIGNED_IN),
    (r"(\xef\xbb\xbf)?\s*<(\?xml|error)", "an XML error page instead of the file", _SIGNED_IN),
    (r'\s*\{\s*"', "a JSON answer instead of the file", _SIGNED_IN),
    (r"PK(\x03\x04|\x05\x06)", "a zip archive", "unpack it with `unzip`"),
    (r"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it with `7z x`"),
    (r"Rar!", "a RAR archive", "unpack it with `unrar x`"),
    (r"\xfd7zXZ", "an xz archive", "unpack it with `xz -d`"),
    (r"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it with `zstd -d`"),
    (r".{257}ustar", "a tar archive", "unpack it with `tar -xf`"),
    (r".{128}DICM", "a DICOM file", "use a recipe whose reader is for DICOM"),
)
_GZIP = re.compile(rb"\x1f\x8b\x08")


def advice_of(start: bytes) -> str | None:
    """Say what a file that should be a volume is, and what to do; None where it is none of these.

    Parameters
    ----------
    start : bytes
        Its first `LOOKED_AT_BYTES`, or all of it.
    """
    for it in _FINDINGS:
        if it.pattern.match(start):
            return f"this is {it.found}; {it.advice}"
    return None


def check_start(path: Path) -> None:
    """Refuse a file that is something else than a volume, by its first bytes.

    Raises
    ------
    CaseError
        `unreadable`, or `truncated_file` for an empty file.
    OSError
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT_BYTES)
    advice = advice_of(start)
    if advice is not None:
        reason = Reason.UNREADABLE if start else Reason.TRUNCATED_FILE
        raise CaseError(reason, f"{path.name}: {advice}")


def unpacked_advice(start: bytes, name: str) -> CaseError | None:
    """Error for what a gzipped file holds, where that is not a volume either."""
    if _GZIP.match(start):
        advice: str | None = "this is gzip within gzip; unpack it once with `gunzip`, or " + _AGAIN
    else:
        advice = advice_of(start)
        advice = f"unpacked, {advice}" if advice else None
    return CaseError(Reason.UNREADABLE, f"{name}: {advice}") if advice else None
