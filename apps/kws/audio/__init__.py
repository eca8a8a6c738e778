"""Sound files, folders of recordings and rooms."""
