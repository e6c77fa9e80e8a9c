"""``python -m mooring``: the same as the command ``mooring``."""

from .cli import main

if __name__ == "__main__":
    main()
