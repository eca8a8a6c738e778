"""Keyword spotting: synthetic speech, and a small int8 model that adapts."""
