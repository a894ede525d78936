"""Bundles: a winning judge as a folder, and what production needs to judge with it.

Nothing here imports dspy, optuna, mlflow or torch; torch is loaded by the engine that the caller creates.
"""
