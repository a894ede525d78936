"""The server engine: a judge behind any OpenAI-compatible server."""
