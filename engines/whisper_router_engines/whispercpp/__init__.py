"""whisper.cpp in our own worker processes, through pywhispercpp."""
