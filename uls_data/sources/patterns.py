"""File patterns of recipes as regular expressions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from pathlib import Path

from uls_data.volumes.volume import SUFFIXES

_TOKEN = re.compile(r"\*\*/|\*+|\?|\{case\}|\{ext\}|\{instance\}|\{annotation\}")
# What stands for itself alone, as `re.escape` writes it, or for one character.
_FIXED = re.compile(r"(?:[^\\/()\[\]{}*?+|^$.]|\\[^A-Za-z0-9/]|\[\^/\])*")


def pattern_regex(pattern: str, case: str) -> re.Pattern[str]:
    """Regular expression of a recipe's file pattern, with groups for its fields."""
    parts: list[str] = []
    stars: list[int] = []
    at, named = 0, False
    for token in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[at : token.start()]))
        at = token.end()
        match token[0]:
            case "**/":
                parts.append("(?:[^/]+/)*")
            case "?":
                parts.append("[^/]")
            case "{ext}":
                parts.append("(?:" + "|".join(map(re.escape, SUFFIXES)) + ")")
            case "{case}":
                parts.append("(?P=case)" if named else f"(?P<case>{case})")
                named = True
            case text if text.startswith("*"):
                stars.append(len(parts))
                parts.append("[^/]*")
            case field_name:
                parts.append(f"(?P<{field_name[1:-1]}>[0-9]{{1,6}})")
    parts.append(re.escape(pattern[at:]))
    for one, other in itertools.pairwise(stars):
        # Between two stars the first place of a fixed text is as good as any: it is kept.
        if all(_FIXED.fullmatch(text) for text in parts[one + 1 : other]):
            parts[one] = "(?>[^/]*?"
            parts[other - 1] += ")"
    return re.compile("".join(parts), re.DOTALL)


def matching(pattern: str, case: str, files: Collection[Path]) -> list[tuple[Path, re.Match[str]]]:
    """Files that a recipe's pattern selects, in the order given.

    A NIfTI counts packed and unpacked, whichever the pattern names: archives are unpacked by a
    click, or packed to save room. Of a file that is there in both forms, the named one counts.
    """
    exact = pattern_regex(pattern, case)
    stem, suffix = _nifti(pattern)
    if not suffix:
        return [(path, match) for path in files if (match := exact.fullmatch(path.as_posix()))]
    other = {".nii.gz": ".nii", ".nii": ".nii.gz"}[suffix]
    loose = pattern_regex(stem + other, case)
    names = {path.as_posix() for path in files}
    found = []
    for path in files:
        name = path.as_posix()
        match = exact.fullmatch(name)
        if match is None and f"{name.removesuffix(other)}{suffix}" not in names:
            match = loose.fullmatch(name)
        if match is not None:
            found.append((path, match))
    return found


def _nifti(pattern: str) -> tuple[str, str]:
    """Pattern without its NIfTI suffix, and that; no suffix where it has none."""
    for suffix in (".nii.gz", ".nii"):
        if pattern.endswith(suffix):
            return pattern.removesuffix(suffix), suffix
    return pattern, ""
