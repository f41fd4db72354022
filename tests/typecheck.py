"""The run-time type checker of the test suite: beartype, with an int where a float is asked for.

What checks a function is made when that is first called, as many never are in a process. A function that another
one defines is decorated whenever that one runs, and what checks functions of one signature is made once.
"""

import functools
from types import FunctionType

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import _decorator

check = functools.cache(beartype(conf=BeartypeConf(is_pep484_tower=True)))
_jaxtyped = _decorator.jaxtyped


def _made_once(make):
    """Return jaxtyping's maker of functions that have a signature and no body, with one for equal signatures."""
    once = functools.cache(make)

    def made(*args, **kwargs):
        try:
            return once(*args, **kwargs)
        except TypeError:  # an annotation or a default that has no hash
            return make(*args, **kwargs)

    return made


def _when_called(fn=None, *, typechecker=None):
    """Return jaxtyping's decorator of a function, which is applied when that is first called."""
    if fn is None:
        return functools.partial(_when_called, typechecker=typechecker)
    if not isinstance(fn, FunctionType):
        return _jaxtyped(fn, typechecker=typechecker)
    checked = None

    @functools.wraps(fn)
    def called(*args, **kwargs):
        nonlocal checked
        __tracebackhide__ = True
        if checked is None:
            checked = _jaxtyped(fn, typechecker=typechecker)
        return checked(*args, **kwargs)

    return called


_decorator._make_fn_with_signature = _made_once(_decorator._make_fn_with_signature)
jaxtyping.jaxtyped = _decorator.jaxtyped = _when_called
