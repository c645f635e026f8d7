"""Models side by side on the same lesions: Dice, and what each gains on some of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uls_data.scoring.aggregates import summarise
from uls_data.scoring.comparison import compare
from uls_data.tables import Record


def side_by_side(
    scores: Mapping[str, Sequence[Record]], references: Sequence[str], about: str
) -> list[str]:
    """Lines of a table.

    Parameters
    ----------
    scores : mapping of str to sequence of dict
        Rows of an evaluation against the same truth, by the name of what was scored.
    references : sequence of str
        Names that the others are compared with, paired by lesion.
    about : str
        Head of the first column.
    """
    head = [about, "Dice [95 %]", *(f"beside {name}" for name in references)]
    lines = [head]
    for name, rows in scores.items():
        (whole,) = summarise(rows)
        line = [name, f"{whole['dice']:.3f} {_interval(whole, '.3f')}"]
        for reference in references:
            if reference == name:
                line.append("-")
                continue
            (gain,) = compare(rows, scores[reference])
            line.append(f"{gain['dice']:+.3f} {_interval(gain, '+.3f')}")
        lines.append(line)
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    return ["  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
            for line in lines]  # fmt: skip


def _interval(row: Record, form: str) -> str:
    low, high = row["dice_low"], row["dice_high"]
    return "" if low is None else f"[{low:{form}}, {high:{form}}]"
