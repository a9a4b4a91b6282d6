"""pairloom's command line, its budget in minutes counted in time of the processor: processor_time.py WORDS...

For a machine on which others work, too: a run that had to wait has not used up its minutes. With one thread that is
never more than the time on the wall, so a budget counted in this way buys no more than an idle machine gives.
"""

from __future__ import annotations

import sys
import time

time.monotonic = time.process_time  # before pairloom is imported, which takes its clock from there

from pairloom.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
