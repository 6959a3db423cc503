"""Visual search in the browser: server, page and request handling."""
