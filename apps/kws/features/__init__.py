"""From sound to what the network sees."""
