"""Identities, and what is derived from them alone: names and random draws."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

_SECOND_LESION = re.compile(r"(?:_sample_\{sample[^}]*\})?$")
_FURTHER = r"(?:_lesion_(?P<lesion>[0-9]{2,}))?"
# Of a layer: it names a folder and a manifest.
LAYER_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
# Of a lesion that readers are asked to draw lines for.
REQUEST = re.compile(r"m[0-9a-f]{11}")
_FIELD = re.compile(r"\{(case|lesion|sample)(?::0(\d)d)?\}")


def draw(n: int, *identity: str | int) -> int:
    """Draw one integer uniformly from 0..n-1, as a function of an identity alone.

    The identity is hashed with SHA-256 and reduced modulo n; the bias is below
    n / 2**256. No generator state exists, so neither order, worker count,
    library version nor machine can change a draw.

    Parameters
    ----------
    n : int
        Number of outcomes, at least 1.
    *identity : str or int
        For a click: (seed, source, case_id, lesion_index, sample_index).
    """
    if n < 1:
        raise ValueError(f"cannot draw from {n} outcomes")
    canonical = json.dumps(identity, ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(canonical.encode("ascii")).digest(), "big") % n


def readable(name: str) -> str:
    """File name as text that every format can hold: bytes that are not UTF-8 are spelt out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_file_name(name: str | None) -> bool:
    """Whether a name from a manifest can be one part of a path, and is not hidden."""
    if not name or "/" in name or name.startswith("."):
        return False
    return name.isprintable()


def hash_of(items: Iterable[str]) -> str:
    """SHA-256 (hex) over a sequence of strings, each on a line of its own."""
    return hashlib.sha256("".join(f"{item}\n" for item in items).encode()).hexdigest()


def voi_fragment(source: str, voi_id: str, layer: str = "") -> str:
    """Return what opens triage at a lesion, behind its address: `#SOURCE/VOI_ID/LAYER`.

    Parameters
    ----------
    layer : str
        Mask that is shown beside the one to judge; empty: that one alone.
    """
    return "#" + "/".join(quote(part, safe="") for part in (source, voi_id, layer) if part)


def request_name(words: Iterable[str]) -> str:
    """Name of a lesion that readers are asked for: a letter and hexadecimal digits of a hash.

    The letter keeps a spreadsheet from taking digits for a number.
    """
    return f"m{hash_of(words)[:11]}"


def track_id(*identity: str) -> str:
    """Name of a lesion over time: a letter and hexadecimal digits of a hash of what follows it.

    Tracking UIDs name the hospital that gave them, and names of structures may name anybody.
    """
    canonical = json.dumps(("track", *identity), ensure_ascii=True, separators=(",", ":"))
    return f"t{hashlib.sha256(canonical.encode('ascii')).hexdigest()[:15]}"


def voi_id(pattern: str, case_id: str, lesion_index: int, sample_index: int) -> str:
    """Name of one VOI in a source's published style.

    A pattern without `{sample}` (the published names of the novel sets) gains
    `_sample_K` for every click after the first; one without `{lesion}` (those of the
    weak sets) gains `_lesion_NN`, before `_sample_K`, for every lesion after the first.
    """

    def fill(match: re.Match[str]) -> str:
        if match[1] == "case":
            return case_id
        number = lesion_index if match[1] == "lesion" else sample_index
        return f"{number:0{match[2] or 1}d}"

    if lesion_index > 1 and "{lesion" not in pattern:
        pattern = _SECOND_LESION.sub(r"_lesion_{lesion:02d}\g<0>", pattern, count=1)
    name = _FIELD.sub(fill, pattern)
    if sample_index and "{sample" not in pattern:
        name += f"_sample_{sample_index}"
    return name


def check_voi_pattern(pattern: str) -> None:
    """Refuse a pattern that holds an unknown field, or could give two VOIs one name.

    Raises
    ------
    ValueError
        With what was found.
    """
    rest = _FIELD.sub("", pattern)
    if stray := re.search(r"\{[^}]*\}?|\}", rest):
        raise ValueError(
            f"found {stray[0]!r}; the fields are {{case}}, {{lesion}} or {{lesion:02d}}, and "
            "{sample}"
        )
    if "{case:" in pattern:
        raise ValueError("{case} is text and takes no number format")
    names = [match[1] for match in _FIELD.finditer(pattern)]
    if len(set(names)) != len(names):
        raise ValueError("each field may occur only once")
    for between in _FIELD.split(pattern)[3:-1:3]:
        if not re.search("[^0-9]", between):
            raise ValueError(
                "put a letter or `_` between the fields, or case 1 with lesion 11 and case 11 "
                "with lesion 1 would get one name"
            )


def voi_id_regex(pattern: str, case_regex: str) -> re.Pattern[str]:
    """Inverse of `voi_id`: a regex with the groups `case`, `lesion` and `sample`."""
    parts: list[str] = []
    at = 0
    further = _SECOND_LESION.search(pattern)
    lesion = further.start() if further and "{lesion" not in pattern else None
    for match in _FIELD.finditer(pattern):
        if lesion is not None and lesion < match.start():
            parts.append(re.escape(pattern[at:lesion]) + _FURTHER)
            at, lesion = lesion, None
        parts.append(re.escape(pattern[at : match.start()]))
        parts.append(f"(?P<case>{case_regex})" if match[1] == "case" else f"(?P<{match[1]}>[0-9]+)")
        at = match.end()
    parts.append(re.escape(pattern[at:]) + ("" if lesion is None else _FURTHER))
    if "{sample" not in pattern:
        parts.append(r"(?:_sample_(?P<sample>[0-9]+))?")
    return re.compile("".join(parts))
