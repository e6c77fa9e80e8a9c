"""How connections come: listening, accepting, and the stages that a new socket goes through."""
