"""The flags that programs share, a file a subject."""
