"""How the server leads the nodes through its rounds."""

from .replayed import RECORD, Record, Records, lead, wait_for_nodes

__all__ = ["RECORD", "Record", "Records", "lead", "wait_for_nodes"]
