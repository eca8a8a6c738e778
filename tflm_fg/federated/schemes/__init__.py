"""A file for each way to learn together, and which of them there are."""
