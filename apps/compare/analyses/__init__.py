"""What a comparison measures beside the accuracy of a grid's cells."""
