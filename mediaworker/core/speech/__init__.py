"""Where a caller speaks, and what is sent to speech recognition."""
