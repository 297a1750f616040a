"""What travels: frames, their codec, errors and close codes. Pure: no input, no output, nothing of the house."""
