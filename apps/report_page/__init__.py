"""One self-contained HTML page that tells what an adaptation gave."""
