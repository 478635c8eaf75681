"""The entry of the process: an interrupt while the program is being loaded is an end like others.

Nothing is imported here before it can be handled.
"""

import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """Load the command line and run it."""
    try:
        from mrcli.cli.app import main as run

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("error: interrupted\n")
        sys.exit(_INTERRUPTED)
