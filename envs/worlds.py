"""Makes rlkit's own worlds known to Gymnasium: names only, a world's module is imported when one is made.

docs/environments.md says what each is, what is known of its optimum, and where it departs from its source.
"""

import gymnasium as gym

# Gymnasium's registry is of the process, and importing twice registers once. DeepSea's limit depends on its size.
gym.register("rlkit/Chain-v0", entry_point="envs.chain:Chain", max_episode_steps=1000)
gym.register("rlkit/DeepSea-v0", entry_point="envs.deep_sea:DeepSea")
gym.register("rlkit/MountainCarGoal-v0", entry_point="envs.mountain_car:MountainCarGoal", max_episode_steps=200)
gym.register("rlkit/SparseMountainCar-v0", entry_point="envs.mountain_car:SparseMountainCar", max_episode_steps=500)
gym.register(
    "rlkit/SparseCartPoleSwingUp-v0", entry_point="envs.cartpole_swingup:SparseCartPoleSwingUp", max_episode_steps=500
)
