"""Read a .tflite, mark what trains, cut it and write it back."""
