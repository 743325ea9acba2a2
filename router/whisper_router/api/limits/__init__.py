"""What each key has used, and how much more it may."""
