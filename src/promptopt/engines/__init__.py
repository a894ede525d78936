"""Judges: what scores the labels of a question.

The modules here import numpy, torch, transformers, the standard library and :mod:`promptopt.errors`, and nothing else,
so that an engine can be measured on a bare GPU machine.
"""
