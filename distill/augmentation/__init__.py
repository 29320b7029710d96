"""More questions to learn layers from: words replaced by a masked-language model, and gaps to fill in plain text."""
