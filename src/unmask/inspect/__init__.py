"""What a model sees, and what it is made of, shown to people."""
