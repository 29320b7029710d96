"""Several processes as one: what they add up, how gradients meet, and how many a launcher has started."""
