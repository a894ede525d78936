"""Judges by name: their configuration, the models they need, and how to open the engine that serves them."""
