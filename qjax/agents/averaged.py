"""Averaged DQN: targets are of the mean of the last copies of the network, whose errors then cancel in part."""

import jax
import jax.numpy as jnp
import optax

from qjax.agents.acting import memoryless
from qjax.agents.dqn import dqn
from qjax.core.checks import check_record, check_size
from qjax.core.default_rules import makes_usual
from qjax.networks.networks import as_network
from qjax.objectives.heads import scalar
from qjax.objectives.members import Members, mean_of_members, of_members
from qjax.objectives.rewards import environment_reward
from qjax.objectives.target_networks import latest_copies, periodic
from qjax.objectives.target_policies import maximum
from qjax.types import Agent, Head, NetworkLike, Reward, Sync, TargetPolicy


@makes_usual
def averaged_dqn(
    network: NetworkLike,
    optimizer: optax.GradientTransformation,
    copies: int = 10,
    *,
    head: Head | None = None,
    target_policy: TargetPolicy = maximum,
    reward: Reward = environment_reward,
    target: Sync | None = None,
) -> Agent:
    """Return an Averaged DQN agent (Anschel et al. 2017, algorithm 2); its state is a `DQNState`.

    As `dqn`, but the values in targets are the mean over the last K copies of the network, `[K, ...]`, the newest
    first. It acts on the mean of the network and the last K - 1 copies, which is what the algorithm returns. With a
    head of distributions the target is their mixture. With K = 1 it is `dqn`.

    Args:
        network: as for `dqn`; a target policy's online values are of it alone.
        optimizer: an optax optimiser.
        copies: K.
        head: how the output stands for Q; default `scalar()`, the squared error.
        target_policy: which next actions the target counts.
        reward: the environment's, or one with a bonus, which is that of single steps.
        target: when copies are made; default every 500 environment steps.

    Raises:
        TypeError: the network lacks `init` or `apply`, or an argument is not of its kind.
        ValueError: there is no copy, or the target is mixed and not copied; and as for `dqn`.

    """
    net, copies = as_network(network), check_size("copies", copies)
    head = scalar() if head is None else head
    copied = periodic(500) if target is None else target
    check_record("head", head, Head)
    check_record("target", copied, Sync)
    agent = dqn(
        of_members(net), optimizer, head=mean_of_members(head), target_policy=target_policy, reward=reward,
        target=latest_copies(copied),
    )  # fmt: skip

    def init(key, obs):
        state = agent.init(key, obs)
        return state._replace(target_params=Members(jax.tree.map(lambda x: jnp.stack([x] * copies), state.params)))

    def values(noise, state, obs):
        def one(params):
            return head.q(net.apply(params, obs, noise))

        q = one(state.params)
        if copies == 1:
            return q
        newest = jax.tree.map(lambda x: x[:-1], state.target_params.each)
        return (q + jax.vmap(one)(newest).sum(0)) / copies

    return agent._replace(init=init, act=memoryless(values))
