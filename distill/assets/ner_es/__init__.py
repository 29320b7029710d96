"""The embedded Spanish set of named entities: what it is made of, and how."""
