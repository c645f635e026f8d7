"""LIDC-IDRI: DICOM series with readings in XML."""
