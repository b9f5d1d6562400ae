"""Decoding image files from outside: what it costs, and a process with limits for those that may cost too much."""
