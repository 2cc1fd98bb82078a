"""The official figures of tasks."""
