"""Environment plug-ins, registered in the entry-point group `rlkit.envs`, and rlkit's own environments.

Importing this package registers the ids of rlkit's environments with Gymnasium.
"""

import envs.worlds  # noqa: F401
