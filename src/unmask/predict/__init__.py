"""From a model and a text to typed results."""
