"""Built-in plugins of the stages around recognition."""
