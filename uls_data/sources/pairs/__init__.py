"""Image and mask as volumes, by file patterns."""
