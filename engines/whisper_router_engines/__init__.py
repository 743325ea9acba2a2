"""The engines that come with whisper-router. They enter through the public entry points."""
