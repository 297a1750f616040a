"""What developers run: setting up, checking."""
