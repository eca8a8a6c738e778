"""Change a model's graph: add operators, mend constants."""
