"""Which output of a file is meant, and which of its layers shall train."""
