"""Rules that need the database but no live state; one noun a file, called by socket and HTTP alike."""
