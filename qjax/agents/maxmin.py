"""Maxmin DQN: of each action the least value among several networks counts, which overestimates less."""

from functools import partial
from typing import Any

import jax
import optax
from jax import lax

from qjax.agents.acting import memoryless
from qjax.agents.dqn import dqn, gradient_step, mean_loss, td_loss
from qjax.core.checks import check_key, check_size
from qjax.core.default_rules import makes_usual
from qjax.networks.networks import as_network
from qjax.objectives.heads import scalar
from qjax.objectives.members import Members, least_of_members, of_members
from qjax.objectives.rewards import environment_reward
from qjax.objectives.target_policies import maximum
from qjax.types import Agent, Head, NetworkLike, Reward, Sync, TargetPolicy


@makes_usual
def maxmin_dqn(
    network: NetworkLike,
    optimizer: optax.GradientTransformation,
    size: int,
    learners: int = 1,
    *,
    head: Head | None = None,
    target_policy: TargetPolicy = maximum,
    reward: Reward = environment_reward,
    target: Sync | None = None,
) -> Agent:
    """Return a Maxmin DQN agent (Lan et al. 2020, algorithm 1); its state is a `DQNState` of N members, `[N, ...]`.

    Members start with other parameters, and each has its own optimiser and target network. The agent acts on
    min_i Q_i and, with `maximum`, learns r + gamma max_a' min_i Q_i(s', a'; theta-_i). At each update members are
    drawn that learn; the others stay as they are. The more members, the lower the values. With a head of
    distributions an action's is that of the member whose mean is least.

    Args:
        network: as for `dqn`; `qjax.with_prior` gives each member its own prior.
        optimizer: an optax optimiser.
        size: N, members.
        learners: how many of them learn at an update.
        head: how the output stands for Q; default `scalar()`, the squared error.
        target_policy: which next actions the target counts; its online values are of the member that learns.
        reward: the environment's, or one with a bonus, which is that of single steps.
        target: how the target parameters follow; default a copy every 500 environment steps.

    Raises:
        TypeError: the network lacks `init` or `apply`, or an argument is not of its kind.
        ValueError: there are fewer than 2 members, or more learners than members; and as for `dqn`.

    """
    size = check_size("size", size, least=2)
    learners = check_size("learners", learners, most=size)
    head = scalar() if head is None else head
    alone = dqn(network, optimizer, head=head, target_policy=target_policy, reward=reward, target=target)
    net, together = of_members(as_network(network)), least_of_members(head)
    of_one = partial(td_loss, net, together, target_policy, reward)

    def init(key, obs):
        return jax.vmap(alone.init, in_axes=(0, None))(jax.random.split(key, size), obs)

    def values(noise, state, obs):
        return together.q(net.apply(Members(state.params), obs, noise))

    def learn(key, state, batch, time):
        check_key(key)
        draw_key, loss_key = jax.random.split(key)
        _, drawn = lax.top_k(jax.random.uniform(draw_key, (size,)), learners)
        loss_of = partial(mean_loss, of_one, loss_key, Members(state.target_params), batch, time)
        members = state._replace(target_params=(), sync_state=())  # what learning changes
        own = jax.tree.map(lambda x: x[drawn], members)
        learned, loss, info = jax.vmap(partial(gradient_step, optimizer, loss_of))(own)
        members = jax.tree.map(lambda x, new: x.at[drawn].set(new), members, learned)
        state = state._replace(params=members.params, opt_state=members.opt_state)
        priority = info.pop("priority").reshape(learners, *batch.weight.shape).max(1).mean(0)
        return state, {"loss": loss.mean(), **{name: x.mean() for name, x in info.items()}, "priority": priority}

    def sync(key: Any, state: Any, elapsed: Any) -> Any:
        return jax.vmap(alone.sync, in_axes=(None, 0, None))(key, state, elapsed)

    return alone._replace(init=init, act=memoryless(values), learn=learn, sync=sync, hidden=None)
