"""Convert one float model into many small ones, and compare each with the original."""
