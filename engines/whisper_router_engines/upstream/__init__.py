"""Other servers that speak the OpenAI audio API."""
