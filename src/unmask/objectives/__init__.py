"""What a model is pre-trained to do. Each file ends with OBJECTIVE."""
