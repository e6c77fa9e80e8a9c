"""The measurements, one a file: each takes a Session and leaves its figures in its results."""
