"""DeepLesion: PNG slices and one table of measurements."""
