"""From prepared audio to one transcript."""
