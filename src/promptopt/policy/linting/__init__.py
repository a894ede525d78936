"""Finds faults of a policy file, all at once: what contradicts, overlaps, is vague, or cannot be reached.

`run.lint_policy` reads a file, also one that :func:`promptopt.policy.reader.read_policy` refuses, and hands it to every
check of `registry.CHECKS`. A check is a function from subject and options to findings; each of its rules has a code.
"""
