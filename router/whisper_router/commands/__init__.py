"""The sub-commands of `whisper-router`: each returns an exit code."""
