"""The API described as an OpenAPI 3.1 document, and as a page for people."""
