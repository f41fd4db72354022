"""Constants for all algorithms at once, of which each takes those that it has."""

from qjax import algorithms


def constants(name, **values):
    """Return an algorithm's config with those of the values that it has."""
    own = algorithms.fields(algorithms.algorithm(name).config)
    return algorithms.config(name, **{field: value for field, value in values.items() if field in own})
