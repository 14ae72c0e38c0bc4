"""Environment families: one module each, plugged in by the entry-point group `rlkit.envs`, and rlkit's own worlds.

Importing this package makes their ids known to Gymnasium.
"""

import envs.worlds  # noqa: F401
