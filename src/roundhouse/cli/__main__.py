"""`python -m roundhouse.cli`, the same as the installed `roundhouse`."""

import sys

from roundhouse.cli import main

if __name__ == "__main__":
    sys.exit(main())
