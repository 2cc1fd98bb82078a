"""What a model is fine-tuned to do: a file is a kind of task."""
