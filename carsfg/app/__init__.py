"""Visual search in the browser."""
