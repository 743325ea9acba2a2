"""whisper.cpp's own `whisper-server` program, kept and asked by us."""
