"""When a connection has to be looked at, and which of its deadlines has passed."""
