"""What the gate leaves to the whole suite is there, and of a test of which it keeps something, it keeps that."""

from collections import defaultdict

import gate


def test_what_the_gate_leaves_out_is_there(request):
    found = defaultdict(set)
    for node in request.config.stash[gate.COLLECTED]:
        name, choice = gate.parts(node)
        found[name].add(choice)
    files = {name.partition("::")[0] for name in found}
    for name, kept in gate.KEPT.items():
        if name.partition("::")[0] in files:  # not where single files are run
            assert set(kept) <= found[name] and (kept or name in found), name
            assert found[name] - set(kept), f"{name}: nothing is left out"
