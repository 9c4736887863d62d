"""What a parent starts: `python -m watcherd.workers CHANNEL LISTENER`, two inherited descriptors."""

import sys

from watcherd.workers.worker import run

if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2])))
