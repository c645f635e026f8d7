"""Who a row is of: one person, across sources."""

from __future__ import annotations

from uls_data.manifest.row import Row

# Sources whose patients are those of another source, under the same ids.
_SAME_PATIENTS = {"deeplesion3d": "deeplesion"}


def patient_space(source: str) -> str:
    """Name shared by sources that call the same people by the same ids."""
    return _SAME_PATIENTS.get(source, source)


def patient_key(row: Row) -> str:
    """One person across sources; the scan stands for a patient who is not known."""
    space = patient_space(row["source"])
    if row["patient_id"] is None:
        return f"{space}/case/{row['case_id']}"
    return f"{space}/{row['patient_id']}"
