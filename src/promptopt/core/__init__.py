"""The nouns that every room shares: cases, verdicts, candidates and their digests."""
