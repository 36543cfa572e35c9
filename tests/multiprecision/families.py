"""Value and derivatives of the log-likelihoods of ``tests/specs``."""

import mpmath as mp
from specs import SPECS

from . import Stored

#: Digits: the differences of mpmath's numerical derivatives leave half of them.
DPS = 50


def label(family):
    """Return the name of a family with its parameters."""
    numbers = [f"{v:g}" for v in vars(family).values() if isinstance(v, float)]
    return "-".join([type(family).__name__, *numbers])


SPEC_OF = {label(family): spec for spec in SPECS.values() for family in spec.families}
FAMILIES = {label(family): family for spec in SPECS.values() for family in spec.families}


def derivatives(name, y, mu, phi, n):
    """Return the value, and its derivatives: mu, phi, mu mu, mu phi, phi phi."""
    family, f = FAMILIES[name], SPEC_OF[name].loglike
    with mp.workdps(DPS):
        y, mu, phi = mp.mpf(y), mp.mpf(mu), mp.mpf(phi)
        n = None if n is None else mp.mpf(n)
        # steps far inside the domain, however close its boundary
        h = mp.mpf(10) ** -20 * min(1, abs(mu) or 1)

        def value(m, p):
            return f(family, y, m, p, n)

        orders = [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]
        return [
            float(v) for v in (value(mu, phi), *(mp.diff(value, (mu, phi), o, h=h) for o in orders))
        ]


@Stored
def likelihood(*row):
    """Return `derivatives` of a family with a likelihood; quasi-likelihoods are quick closed forms."""
    return derivatives(*row)
