"""The run-time type checker of the test suite: beartype, with an int where a float is asked for.

A function that another one defines is decorated whenever that one runs; what checks its arguments is made once.
"""

import functools

from beartype import BeartypeConf, beartype
from jaxtyping import _decorator

check = functools.cache(beartype(conf=BeartypeConf(is_pep484_tower=True)))


def _made_once(make):
    """Return jaxtyping's maker of functions that have a signature and no body, with one for equal signatures."""
    once = functools.cache(make)

    def made(*args, **kwargs):
        try:
            return once(*args, **kwargs)
        except TypeError:  # an annotation or a default that has no hash
            return make(*args, **kwargs)

    return made


_decorator._make_fn_with_signature = _made_once(_decorator._make_fn_with_signature)
