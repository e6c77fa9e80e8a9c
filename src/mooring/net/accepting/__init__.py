"""How connections come: listening, accepting, the stages that a new socket goes through, and the place in the loop."""
