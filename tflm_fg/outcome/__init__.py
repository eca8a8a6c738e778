"""What an adaptation gave: scores, what was forgotten, and what it cost."""
