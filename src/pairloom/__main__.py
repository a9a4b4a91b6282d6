"""`python -m pairloom`, the same as the command `pairloom`."""

from __future__ import annotations

import sys

from pairloom.cli import main

if __name__ == "__main__":
    sys.exit(main())
