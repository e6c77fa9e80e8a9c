"""Fuzzing: a target for each parser that meets the network; see README.md."""
