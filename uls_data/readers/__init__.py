"""Stage 1: raw files to volumes and cases."""

from uls_data.readers.case_files import CaseFiles
from uls_data.readers.cases import find_cases
from uls_data.readers.volume import Volume, read_volume

__all__ = ["CaseFiles", "Volume", "find_cases", "read_volume"]
