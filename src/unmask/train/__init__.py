"""Optimizer, schedule, the training loop, checkpoints, reports."""
