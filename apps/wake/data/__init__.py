"""What a wake word model hears: recordings, its manifest, and a stock."""
