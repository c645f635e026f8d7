"""Errors that carry an outcome.

Every message says: what, which case and file, expected, found, what to do. A
`CaseError` becomes a row of the manifest and the run continues; every other
`UlsDataError` stops the run before any work, with exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from uls_data.outcome import Reason

_LONGEST_WORD = 60
# Each name takes 40 microseconds: nobody waits minutes for a hint among millions of VOIs.
_MOST_NAMES = 100_000


class UlsDataError(Exception):
    """Base of all errors that users are meant to read; printed without a traceback."""


class RecipeError(UlsDataError):
    """A recipe is missing, malformed or cannot do what was asked of it."""


class SourceError(UlsDataError):
    """The raw root, or the output folder, cannot be used at all."""


class ManifestError(UlsDataError):
    """A manifest is missing, has another schema, or does not hold what was asked."""


class CaseError(UlsDataError):
    """One case, or one lesion of it, cannot become a VOI.

    Parameters
    ----------
    reason : Reason
        Why, from the closed list in the manifest schema.
    detail : str
        The numbers: expected, found, and what to do about it.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[CaseError], tuple[Reason, str]]:
        # Exceptions cross process boundaries; the default would pass one argument.
        return type(self), (self.reason, self.detail)


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """Return ` Did you mean ...?` with the names nearest to a mistyped one.

    Empty if none is near, or if there are more than 100,000 names.

    Parameters
    ----------
    most : int
        Names at most.
    """
    names = list(known)
    near = get_close_matches(word[:_LONGEST_WORD], names, most) if len(names) <= _MOST_NAMES else ()
    return f" Did you mean {' or '.join(near)}?" if near else ""
