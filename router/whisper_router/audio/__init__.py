"""From an upload to 16 kHz mono samples and the speech in them."""
