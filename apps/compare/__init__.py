"""Methods compared at equal numbers of forward passes."""
