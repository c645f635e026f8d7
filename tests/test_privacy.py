"""What identifies a person in raw headers reaches no output, no log and no file name."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

import uls_data
from demo.sources import make_archives

MARK = "XMARKX"
TEXT = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}
ADDED = (
    *("PatientName", "PatientID", "OtherPatientNames", "PatientAddress", "PatientComments"),
    *("AccessionNumber", "InstitutionName", "InstitutionAddress", "ReferringPhysicianName"),
    *("OperatorsName", "StationName", "StudyDescription", "SeriesDescription", "ProtocolName"),
    *("ImageComments", "RequestingPhysician", "DeviceSerialNumber", "StudyID"),
)
SOURCES = ("nih_ln_abd", "lidc_idri", "lndb", "own_dicom")


def plant(data: Dataset) -> None:
    """Write the mark into every text of an object and of its sequences."""
    for element in data:
        if element.VR == "SQ":
            for item in element.value:
                plant(item)
        elif element.VR in TEXT and element.keyword not in ("ROIName", "SegmentLabel"):
            element.value = MARK


def planted(root: Path) -> int:
    count = 0
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        head = path.read_bytes()[:132]
        if head[128:] == b"DICM":
            data = pydicom.dcmread(path)
            plant(data)
            for keyword in ADDED:
                setattr(data, keyword, MARK)
            data.PatientBirthDate = "19010203"
            data.add_new(0x00091010, "LO", MARK)
            data.save_as(path)
            count += 1
        elif path.suffix == ".xml":
            text = path.read_text()
            text = text.replace("<servicingRadiologistID>", f"<servicingRadiologistID>{MARK}")
            path.write_text(text.replace("<Version>1.7", f"<Version>{MARK}"))
            count += 1
        elif path.suffix == ".mhd":
            path.write_text(f"Comment = {MARK}\n{path.read_text()}")
            count += 1
    return count


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_private_comes_out(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = make_archives(tmp_path / "raw", only=[source])[source]
    assert planted(raw) > 3
    # One broken file more, so that messages are written, too.
    broken = next(p for p in sorted(raw.rglob("*")) if p.suffix in (".dcm", ".mhd", ".raw", ""))
    if broken.is_file():
        broken.write_bytes(broken.read_bytes()[:-700])
    caplog.set_level(logging.DEBUG)
    out = tmp_path / "out"
    own = raw / "own_dicom.yaml"
    report = uls_data.build(str(own) if own.is_file() else source, raw, out)
    assert report.ok
    secrets = [MARK.encode(), b"19010203", b"Nobody", b"Made-Up"]
    for path in (p for p in out.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            content = gzip.decompress(content)
        found = [secret for secret in secrets if secret in content]
        assert not found, f"{path.name} holds {found}"
        assert MARK not in path.name
    shown = "".join(capfd.readouterr()) + caplog.text + repr(report.rows)
    assert not [secret for secret in secrets if secret.decode() in shown]
