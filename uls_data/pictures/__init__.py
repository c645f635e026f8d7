"""Pictures of masks and of what was measured on them."""
