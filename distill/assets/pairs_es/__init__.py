"""The embedded Spanish set of paraphrase pairs: what it is made of, and how."""
