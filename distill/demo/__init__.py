"""A page on which teacher and student answer the same question side by side."""
