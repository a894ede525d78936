"""Judgement programs: DSPy modules declared from a policy, and their lowering to plain prompts."""
