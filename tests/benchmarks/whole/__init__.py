"""Arms of the benchmark of whole jobs; each runs in a process of its own and comes with its own interpreter."""
