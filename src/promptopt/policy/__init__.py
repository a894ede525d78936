"""Policies as data: read, checked, rendered for judges, and routed from answers to a verdict."""
