"""Other JAX suites as environments, by prefix: `qjax.make("navix:Navix-Empty-5x5-v0")`. No suite is a dependency.

Read `base` first, then one suite, then `names`. An adapter says how an episode begins and what one step does; the
base counts steps, cuts at the time limit, resets, and keeps the true successor. Imports: what `envs` may import.
"""
