"""The time of connections: deadlines, the judgement which has passed, timers."""
