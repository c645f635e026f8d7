"""DICOM series with masks, structure sets or segmentations."""
