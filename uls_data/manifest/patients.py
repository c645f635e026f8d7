"""The patient of a row: one person, across sources."""

from __future__ import annotations

from collections.abc import Iterable

from uls_data.manifest.row import Row

# Sources whose patients are those of another source, under the same ids.
_SAME_PATIENTS = {
    "deeplesion3d": "deeplesion",
    "kits23": "kits21",
    "c4kc_kits": "kits21",
    "lidc_idc": "lidc_idri",
}


def patient_space(source: str) -> str:
    """Name shared by sources that call the same people by the same ids."""
    return _SAME_PATIENTS.get(source, source)


def patient_key(row: Row) -> str:
    """One person across sources; the scan stands for a patient who is not known."""
    space = patient_space(row["source"])
    if row["patient_id"] is None:
        return f"{space}/case/{row['case_id']}"
    return f"{space}/{row['patient_id']}"


def patient_groups(rows: Iterable[Row]) -> dict[str, str]:
    """Patients who share a scan or a lesion go by one name: their first name in order.

    A scan is shared where rows of two patients have the same `image_source_sha256` or
    `image_voxels_sha256`, a lesion where they have the same `lesion_track_id`.

    Returns
    -------
    dict of str to str
        Name of the group of each patient, by `patient_key`.
    """
    group: dict[str, set[str]] = {}
    owner: dict[str, str] = {}
    for row in rows:
        patient = patient_key(row)
        mine = group.setdefault(patient, {patient})
        scans = row.get("image_source_sha256"), row.get("image_voxels_sha256")
        for shared in (*scans, row.get("lesion_track_id")):
            theirs = group[owner.setdefault(shared, patient)] if shared else mine
            if theirs is not mine:
                mine |= theirs
                group.update(dict.fromkeys(theirs, mine))
    return {patient: min(members) for patient, members in group.items()}
