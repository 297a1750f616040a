"""The promises, tested."""
