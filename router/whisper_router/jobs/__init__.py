"""Transcriptions that outlive their HTTP request, and the server's process."""
