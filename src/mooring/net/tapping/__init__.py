"""Listening to what single connections send and get, while they do."""
