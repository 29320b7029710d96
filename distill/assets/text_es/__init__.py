"""A sample of plain Spanish text, written by a seeded generator."""
