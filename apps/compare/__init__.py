"""Methods of training compared, at equal numbers of forward passes."""
