"""What a comparison looks at beside accuracy."""
