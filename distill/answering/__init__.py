"""Asking a finished model: questions in, answers with their place and probability out."""
