"""Judges made of judges: cascades and juries of bundles, from one small file each.

Nothing here imports dspy, optuna, mlflow or torch; torch is loaded by the engines that are opened.
"""
