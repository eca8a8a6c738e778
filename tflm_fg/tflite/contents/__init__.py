"""What a file holds beside the tensors of its first subgraph."""
