"""What ``plancton run``, SIGHUP and an upgrade execute: ``python -P -m plancton.daemon OPTIONS`` (JSON).

Keep this name: a running supervisor of an older version executes a newer one by it.
"""

import sys

from plancton.daemon.loop import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
