"""``python -m promptopt.cli``."""

from promptopt.cli import main

main()
