"""The main job at a small scale, and what it is good for, on text that ships with Python."""
