"""DICOM without a recipe: headers, pixels, series, structure sets and segmentations."""
