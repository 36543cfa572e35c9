"""Facts of the extended quasi-likelihood of the Poisson variance."""

import statsmodels.api as sm

import hetglm.api as het
from hetglm.families.quasi import QuasiPoisson
from specs.spec import REFUSED_COUNTS, Spec, extended_quasi, poisson_deviance


def variance(f, m, phi, n):
    return phi * m


def deviance(f, y, m):
    return poisson_deviance(y, m)


SPEC = Spec(
    families=[QuasiPoisson()],
    loglike=extended_quasi(variance, deviance),
    variance=variance,
    deviance=deviance,
    refused=REFUSED_COUNTS,
    model=het.DoubleGLM,
    kwargs={"family": sm.families.Poisson()},
    response="count",
)
