"""Speech recognition on your own machines: an OpenAI-compatible router over native engines."""
