"""What maintainers run: fits, documents, tables that ship with the package."""
