"""One file a family: how its published checkpoints map to a Spec. Each ends with FAMILY."""
