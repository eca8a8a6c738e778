"""A fleet on one machine: its clients, its rounds, and what is beside it."""
