"""The loop: one epoll that owns every descriptor, and the parts of its turn."""
