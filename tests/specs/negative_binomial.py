"""Facts of the extended quasi-likelihood of the negative binomial variance with alpha given."""

import mpmath as mp
import statsmodels.api as sm

import hetglm.api as het
from hetglm.families.quasi import QuasiNegativeBinomial
from specs.spec import REFUSED_COUNTS, Spec, extended_quasi, xlogx


def variance(f, m, phi, n):
    return phi * (m + mp.mpf(f.alpha) * m**2)


def deviance(f, y, m):
    a = mp.mpf(f.alpha)
    return 2 * (xlogx(y, m) - (y + 1 / a) * mp.log((1 + a * y) / (1 + a * m)))


SPEC = Spec(
    families=[QuasiNegativeBinomial(0.4), QuasiNegativeBinomial(3.0)],
    loglike=extended_quasi(variance, deviance),
    variance=variance,
    deviance=deviance,
    refused=REFUSED_COUNTS,
    model=het.DoubleGLM,
    kwargs={"family": sm.families.NegativeBinomial(sm.families.links.Log(), alpha=0.1)},
    response="count",
    alike="poisson",
)
