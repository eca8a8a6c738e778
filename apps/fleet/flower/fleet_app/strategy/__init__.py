"""How the server leads the nodes through its rounds."""

from .replayed import lead, wait_for_nodes

__all__ = ["lead", "wait_for_nodes"]
