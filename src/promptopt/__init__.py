"""promptopt: turn a content-safety policy and a golden set into a judge that can be trusted."""

__version__ = "0.1.0"
