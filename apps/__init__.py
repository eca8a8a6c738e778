"""Command-line programs: flags, load, one call, save."""
