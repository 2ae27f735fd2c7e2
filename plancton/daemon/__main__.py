"""The process that stays: ``python -P -m plancton.daemon OPTIONS`` (JSON).

SIGHUP and an upgrade execute this, and ``plancton run`` where its parser has been loaded, so that the
command line is not carried along. The name stays: a running supervisor of an older version executes the
newer one by it.
"""

import sys

from plancton.lean_imports import left_out

with left_out():
    from plancton.daemon.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
