"""Live transcription: what is recognised while somebody still speaks. Pure: no I/O, no clock."""
