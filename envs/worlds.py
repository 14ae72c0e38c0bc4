"""Registers rlkit's own environments with Gymnasium. The module of an environment is imported when one is made.

docs/environments.md describes each environment, its optimal return, and its differences from the source.
"""

import gymnasium as gym

# No max_episode_steps for DeepSea and MemoryChain: their time limit is their size.
gym.register("rlkit/Chain-v0", entry_point="envs.chain:Chain", max_episode_steps=1000)
gym.register("rlkit/DeepSea-v0", entry_point="envs.deep_sea:DeepSea")
gym.register("rlkit/MemoryChain-v0", entry_point="envs.memory_chain:MemoryChain")
gym.register("rlkit/MountainCarGoal-v0", entry_point="envs.mountain_car:MountainCarGoal", max_episode_steps=200)
gym.register("rlkit/SparseMountainCar-v0", entry_point="envs.mountain_car:SparseMountainCar", max_episode_steps=500)
gym.register(
    "rlkit/SparseCartPoleSwingUp-v0", entry_point="envs.cartpole_swingup:SparseCartPoleSwingUp", max_episode_steps=500
)

# MiniGrid: the larger MultiRoom environments of RIDE (Raileanu & Rocktaschel 2020), which the package does not register
for rooms, size in ((7, 8), (10, 10), (12, 10)):
    gym.register(
        f"rlkit/MultiRoom-N{rooms}-S{size}-v0",
        entry_point="minigrid.envs:MultiRoomEnv",
        kwargs={"minNumRooms": rooms, "maxNumRooms": rooms, "maxRoomSize": size},
    )
gym.register("rlkit/MiniGrid-v0", vector_entry_point="envs.minigrid_vector.vector_env:MiniGridVectorEnv")
