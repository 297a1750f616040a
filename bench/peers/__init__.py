"""Other servers under the same load: each set up as its own documentation advises, started and stopped by us alone."""
