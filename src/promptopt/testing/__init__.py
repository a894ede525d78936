"""Conformance checks that any implementation of a contract must pass; they need no test runner to be imported."""
