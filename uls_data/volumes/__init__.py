"""Volumes as files hold them: NIfTI, MetaImage, NRRD."""

from uls_data.volumes.read import read_segments, read_volume
from uls_data.volumes.volume import Volume

__all__ = ["Volume", "read_segments", "read_volume"]
