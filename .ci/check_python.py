"""Says clearly whether this interpreter can run rlkit; in old syntax, for the interpreters that it has to refuse."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    found = "{} is Python {}.{}".format(sys.executable, *sys.version_info[:2])
    sys.exit("rlkit needs Python 3.11, 3.12 or 3.13; " + found)
