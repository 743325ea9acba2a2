"""The OpenAI Realtime API for transcription sessions, in its GA and its retired beta shape."""
