"""Engine processes: started, watched, leased and stopped."""
