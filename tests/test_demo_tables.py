"""The demo's tables: means, intervals by patient, and paired differences."""

from __future__ import annotations

import re

from demo.tables import side_by_side
from uls_data.tables import Record


def rows(*dice: float) -> list[Record]:
    return [
        {
            "voi_id": f"v{n}",
            "source": "s",
            "patient": f"p{n // 2}",
            "counts": True,
            "status": "ok",
            "dice": value,
            **{f"{name}{form}": 0.1 for name in ("long_sape", "short_sape", "consistency")
               for form in ("", "_corrected")},
            "dice_corrected": value,
            "long_within_10": True,
            "short_within_10": True,
        }
        for n, value in enumerate(dice)
    ]  # fmt: skip


def test_who_gains_how_much_on_whom() -> None:
    table = side_by_side(
        {"a formula": rows(0.6, 0.7, 0.6, 0.7), "a teacher": rows(0.8, 0.9, 0.8, 0.9)},
        ("a formula",),
        "masks by",
    )
    head, formula, teacher = (re.split(" {2,}", line) for line in table)
    assert [head[0], head[-1]] == ["masks by", "beside a formula"]
    assert formula[0] == "a formula" and "0.650 [0.650, 0.650]" in formula and formula[-1] == "-"
    assert "0.850 [0.850, 0.850]" in teacher and teacher[-1] == "+0.200 [+0.200, +0.200]"
