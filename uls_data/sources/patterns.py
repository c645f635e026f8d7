"""File patterns of recipes as regular expressions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from uls_data.volumes.volume import SUFFIXES

# Endings of archives, which are not looked into.
PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
_NIFTI = frozenset({".nii.gz", ".nii"})
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


@dataclass(frozen=True)
class Selected:
    """A file that a recipe's pattern selects.

    Attributes
    ----------
    path : Path
    match : Match
        With the groups of the pattern's fields.
    other_format : bool
        Whether it has another volume format than the pattern names, as `.mha` for `.nii.gz`.
    spare : bool
        Whether the file is there in the form that counts, too, so that this one is not read.
    """

    path: Path
    match: re.Match[str]
    other_format: bool = False
    spare: bool = False


def matching(
    pattern: str, case: str, files: Collection[Path], beside: Collection[str] = ()
) -> list[Selected]:
    """Files that a recipe's pattern selects, in the order given.

    A pattern that names a volume's suffix also finds the volume in another format: archives are
    unpacked by a click, packed to save room, or saved again by a viewer. Of a file that is there
    several times the named form counts, then a NIfTI for a NIfTI, and the rest are spare. Where
    neither is there, all count, so that the caller sees that there are several.

    Parameters
    ----------
    beside : collection of str
        Patterns for other files of the same cases. What one of them names is theirs if it says
        more of the name (`{case}_mask{ext}` more than `{case}{ext}`), or if this pattern names
        another format. Where one differs in the suffix alone, that tells which is which: only
        packed and unpacked NIfTI stand for each other then.
    """
    exact = pattern_regex(pattern, case)
    stem, suffix = split_suffix(pattern)
    theirs = {one: pattern_regex(one, case) for one in beside}
    closer = [regex for one, regex in theirs.items() if _fixed(one) > _fixed(pattern)]
    others = [ending for ending in SUFFIXES if suffix and ending != suffix]
    if any(split_suffix(one)[0] == stem for one in beside):
        others = [ending for ending in others if {ending, suffix} <= _NIFTI]
    loose = {ending: pattern_regex(stem + ending, case) for ending in others}
    names = {path.as_posix() for path in files}
    selected: list[Selected] = []
    for path in files:
        name = path.as_posix()
        if (match := exact.fullmatch(name)) is not None:
            if not any(regex.fullmatch(name) for regex in closer):
                selected.append(Selected(path, match))
            continue
        bare, ending = split_suffix(name)
        match = loose[ending].fullmatch(name) if ending in loose else None
        if match is None or any(regex.fullmatch(name) for regex in theirs.values()):
            continue
        other_format = not {ending, suffix} <= _NIFTI
        better = _NIFTI if other_format and suffix in _NIFTI else {suffix}
        spare = any(bare + one in names for one in better)
        selected.append(Selected(path, match, other_format, spare))
    return selected


def _fixed(pattern: str) -> int:
    """How many characters of a name a pattern says."""
    return len(_TOKEN.sub("", pattern))


def split_suffix(name: str) -> tuple[str, str]:
    """Name or pattern without its volume suffix, and that; no suffix where it has none."""
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    return name.removesuffix(suffix), suffix
