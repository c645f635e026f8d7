"""Units in which files state lengths."""

from __future__ import annotations

# "linear" is what AIM's own tools write for centimetres.
_MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
    "linear": 10.0,
}


def in_mm(value: float | None, unit: str) -> float | None:
    """Length in mm; None without a value, or where the unit is not one of length."""
    scale = _MM.get(unit.strip().lower())
    return None if value is None or scale is None else value * scale
