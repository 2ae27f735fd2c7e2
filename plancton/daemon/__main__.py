"""What ``plancton run``, SIGHUP and an upgrade execute: ``python -P -m plancton.daemon OPTIONS`` (JSON).

This name stays: a running supervisor of an older version executes the newer one by it.
"""

import sys

from plancton.daemon.loop import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
