"""Teachers: running them, storing their logits, averaging several."""
