"""The classic tutorial's loop: DQN on gymnasium's CartPole with PyTorch, one seed, an update per step.

64-64 network, batch 64, a deque of 10,000 transitions, target copied every ten episodes: `--preset tutorial`.
By itself it prints what four seeds reach after 500 episodes, the mean of 20 greedy ones:

python -m benchmarks.baselines.torch_cartpole
"""

import collections
import random
from collections.abc import Callable

import gymnasium
import numpy as np
import torch
from torch import nn

BATCH, GAMMA = 64, 0.99


def network() -> nn.Module:
    """Return the tutorial's network."""
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def learn(online: nn.Module, target: nn.Module, optimizer: torch.optim.Optimizer, batch: list) -> None:
    """Take one step of Adam on the mean squared error."""
    columns = [np.array(column) for column in zip(*batch, strict=True)]
    obs, action, reward, next_obs, terminated = (torch.as_tensor(column) for column in columns)
    with torch.no_grad():
        y = reward.float() + GAMMA * (1 - terminated.float()) * target(next_obs).max(1).values
    q = online(obs).gather(1, action[:, None])[:, 0]
    loss = nn.functional.mse_loss(q, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def greedy_return(online: nn.Module, seed: int, episodes: int = 20) -> float:
    """Return the mean return of greedy episodes."""
    env, total = gymnasium.make("CartPole-v1"), 0.0
    for number in range(episodes):
        obs, _ = env.reset(seed=seed + number)
        ended = False
        while not ended:
            with torch.no_grad():
                action = int(online(torch.as_tensor(obs)).argmax())
            obs, reward, terminated, truncated, _ = env.step(action)
            total, ended = total + float(reward), terminated or truncated
    return total / episodes


def make(seed: int, threads: int | None = None) -> Callable[[], tuple[int, nn.Module]]:
    """Return a function that makes one step and one update, and returns how many episodes ended, and the network.

    threads default to PyTorch's own.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    random.seed(seed)
    torch.manual_seed(seed)
    env = gymnasium.make("CartPole-v1")
    online, target = network(), network()
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3)
    memory: collections.deque = collections.deque(maxlen=10_000)
    epsilon, episode = 1.0, 0
    obs, _ = env.reset(seed=seed)

    def step() -> tuple[int, nn.Module]:
        nonlocal obs, epsilon, episode
        if random.random() < epsilon:
            action = random.randrange(2)
        else:
            with torch.no_grad():
                action = int(online(torch.as_tensor(obs)).argmax())
        next_obs, reward, terminated, truncated, _ = env.step(action)
        memory.append((obs, action, reward, next_obs, terminated))
        obs = next_obs
        if len(memory) >= BATCH:
            learn(online, target, optimizer, random.sample(memory, BATCH))
        if terminated or truncated:
            obs, _ = env.reset()
            episode += 1
            epsilon = max(0.01, epsilon * 0.995)
            if episode % 10 == 0:
                target.load_state_dict(online.state_dict())
        return episode, online

    return step


def reached(seed: int) -> float:
    """Return the greedy return after the tutorial's 500 episodes."""
    step = make(seed, threads=1)
    episode, online = step()
    while episode < 500:
        episode, online = step()
    return greedy_return(online, 1000 * (seed + 1))


if __name__ == "__main__":
    for seed in range(4):
        print(f"seed {seed}: {reached(seed):.0f}", flush=True)
