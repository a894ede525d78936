"""The search: which prompts to try, on which cases, and which one won."""
