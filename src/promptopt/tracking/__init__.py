"""What a sweep leaves for people to look at: runs, metrics over steps, golden sets, prompts and figures.

Callers hold a :class:`promptopt.tracking.base.RunLog`, made by :func:`promptopt.tracking.factory.open_run_log`. MLflow
is imported by :mod:`promptopt.tracking.mlflow_log` alone.
"""
