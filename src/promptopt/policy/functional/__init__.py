"""Functional tests made from a policy alone: what a judge of the policy must get right, function by function."""
