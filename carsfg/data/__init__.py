"""The data: reading it, drawing it, caching its crops, and what its class names say."""
