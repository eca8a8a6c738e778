"""Wake words that adapt to who speaks them."""
