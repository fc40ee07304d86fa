"""What others reach over HTTP: writers, the board, and anybody's own tools."""
