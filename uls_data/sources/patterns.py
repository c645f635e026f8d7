"""File patterns of recipes as regular expressions."""

from __future__ import annotations

import re

from uls_data.volumes.volume import SUFFIXES

_TOKEN = re.compile(r"\*\*/|\*|\?|\{case\}|\{ext\}|\{instance\}|\{annotation\}")


def pattern_regex(pattern: str, case: str) -> re.Pattern[str]:
    """Regular expression of a recipe's file pattern, with groups for its fields."""
    parts: list[str] = []
    at, named = 0, False
    for token in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[at : token.start()]))
        at = token.end()
        match token[0]:
            case "**/":
                parts.append("(?:[^/]+/)*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case "{ext}":
                parts.append("(?:" + "|".join(map(re.escape, SUFFIXES)) + ")")
            case "{case}":
                parts.append("(?P=case)" if named else f"(?P<case>{case})")
                named = True
            case field_name:
                parts.append(f"(?P<{field_name[1:-1]}>[0-9]{{1,6}})")
    parts.append(re.escape(pattern[at:]))
    return re.compile("".join(parts), re.DOTALL)
