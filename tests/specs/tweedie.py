"""Facts of the extended quasi-likelihood of the variance mu^p."""

import mpmath as mp
import statsmodels.api as sm

import hetglm.api as het
from hetglm.families.quasi import QuasiTweedie
from specs.spec import REFUSED_COUNTS, Spec, extended_quasi, gamma_deviance, poisson_deviance


def variance(f, m, phi, n):
    return phi * m ** mp.mpf(f.power)


def deviance(f, y, m):
    p = mp.mpf(f.power)
    simple = {0: lambda y, m: (y - m) ** 2, 1: poisson_deviance, 2: gamma_deviance}
    if p in simple:
        return simple[p](y, m)
    first = y ** (2 - p) / ((1 - p) * (2 - p)) if y else 0
    return 2 * (first - y * m ** (1 - p) / (1 - p) + m ** (2 - p) / (2 - p))


def refused(f):
    if f.power >= 2:
        return [([1, 0], None, "power 2 or more must be positive; see row 1")]
    return REFUSED_COUNTS if f.power >= 1 else []


SPEC = Spec(
    families=[QuasiTweedie(p) for p in (1.5, 0, 1, 2, 2.6, 3)],
    loglike=extended_quasi(variance, deviance),
    variance=variance,
    deviance=deviance,
    refused=refused,
    model=het.DoubleGLM,
    kwargs={
        "family": sm.families.Tweedie(sm.families.links.Log(), var_power=1.6),
        "likelihood": "eql",
    },
    response="positive",
    alike="poisson",
)
