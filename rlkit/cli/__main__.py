"""`python -m rlkit.cli`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working folder, whose modules would hide installed ones

from rlkit.start import main

main()
