"""How well `mine` reads reports whose truth is marked, per field.

    PYTHONPATH=.:tests python -m makers.report_scores
    PYTHONPATH=.:tests python -m makers.report_scores FOLDER --errors

Without a folder: 300 made-up reports a language (`makers.reports`, always the same ones), and the
whole reports in other phrasings (`tests/mining/phrasings`). A folder of one's own holds `.txt`
files with marks as `makers.report_truth` says.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from makers.report_truth import Score, add, marked
from makers.reports import made_up_report
from uls_data.mining.lexicon import lexicons
from uls_data.mining.mined import rows_of_report

PHRASINGS = Path(__file__).parents[1] / "mining" / "phrasings"
WORDS = lexicons()


def scored(reports: Iterable[tuple[str, str]]) -> Score:
    """Score of reports with marks, each under a name for its errors."""
    score = Score()
    for name, report in reports:
        text, truths = marked(report)
        add(score, list(rows_of_report(text, name, None, WORDS)), truths, name)
    return score


def made_up(language: str, count: int) -> Score:
    return scored((f"{language} {n}", made_up_report(language, n)) for n in range(count))


def written(folder: Path) -> Score:
    return scored(
        (path.name, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.txt"))
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--errors", action="store_true", help="say what was wrong, and where")
    told = parser.parse_args()
    scores = {str(folder): written(folder) for folder in told.folders}
    if not scores:
        for language in ("en", "nl"):
            scores[f"300 made-up, {language}"] = made_up(language, 300)
            scores[f"phrasings, {language}"] = written(PHRASINGS / language)
    for name, score in scores.items():
        sys.stdout.write(f"{name}\n")
        for line in score.lines():
            sys.stdout.write(f"  {line}\n")
        if told.errors:
            sys.stdout.write("".join(f"  {error}\n" for error in score.errors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
