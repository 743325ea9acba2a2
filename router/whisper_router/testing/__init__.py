"""Tests that a plugin author can run; needs pytest and pytest-asyncio."""
