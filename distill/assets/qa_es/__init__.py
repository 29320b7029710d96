"""The embedded Spanish extractive-QA set: two SQuAD v2.0 files and the content and generator they are made from."""
