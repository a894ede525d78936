"""The score store: a score is paid for once."""
