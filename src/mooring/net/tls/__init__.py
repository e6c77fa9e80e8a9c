"""TLS, as a layer between a socket and a connection."""
