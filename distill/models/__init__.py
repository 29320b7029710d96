"""Models: loading, building, layer maps and recording."""
