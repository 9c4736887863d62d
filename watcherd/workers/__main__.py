"""What a parent starts: `python -m watcherd.workers CHANNEL LISTENER BALANCE`, three inherited descriptors."""

import sys

from watcherd.workers.worker import run

if __name__ == "__main__":
    sys.exit(run(*map(int, sys.argv[1:])))
