"""The Ray engine: actors that each host an engine of their own."""
