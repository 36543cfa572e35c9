"""Facts of the extended quasi-likelihood of the binomial variance, of a proportion."""

import statsmodels.api as sm

import hetglm.api as het
from hetglm.families.quasi import QuasiBinomial
from specs.spec import Spec, extended_quasi, xlogx


def variance(f, m, phi, n):
    return phi * m * (1 - m)


def deviance(f, y, m):
    return 2 * (xlogx(y, m) + xlogx(1 - y, 1 - m))


SPEC = Spec(
    families=[QuasiBinomial()],
    loglike=extended_quasi(variance, deviance),
    variance=variance,
    deviance=deviance,
    refused=[
        ([0.5, 1.2], [2, 2], r"must lie in \[0, 1\]; see row 1"),
        ([-0.5, 1], [2, 2], r"must lie in \[0, 1\]; see row 0"),
        ([0, 1, 1], [1, 1, 1], "one trial .* dispersion is unidentified"),
    ],
    model=het.DoubleGLM,
    kwargs={"family": sm.families.Binomial()},
    response="K",
    alike="poisson",
)
