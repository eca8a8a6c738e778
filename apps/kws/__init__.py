"""Keyword spotting: synthetic speech in, a small int8 model and domains out."""
