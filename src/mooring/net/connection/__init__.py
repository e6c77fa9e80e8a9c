"""One connection: what handlers see of it, what it has to send, how it lives and ends; and all of them together."""
