"""One sentence a trap: what radiologists write beside a lesion's size, and how."""

from __future__ import annotations

from pathlib import Path

import pytest
from makers.report_truth import Score, add, marked

from uls_data.mining.lexicon import lexicons
from uls_data.mining.mined import rows_of_report

WORDS = {words.language: words for words in lexicons()}
FOLDER = Path(__file__).parent
CASES = [
    (language, line)
    for language in ("en", "nl")
    for line in (FOLDER / f"traps_{language}.txt").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize(("language", "line"), CASES, ids=[line[:60] for _, line in CASES])
def test_trap(language: str, line: str) -> None:
    """Exactly the marked lesions are found, with all that is marked: see `makers.report_truth`."""
    text, truths = marked(line.replace(r"\n", "\n"))
    score = Score()
    add(score, list(rows_of_report(text, "a.txt", None, [WORDS[language]])), truths, "")
    assert not score.errors, "\n".join(score.errors)
