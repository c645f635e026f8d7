"""DICOM series with a table of lines, as CCC18 has it."""
