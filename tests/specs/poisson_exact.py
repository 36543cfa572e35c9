"""Facts of the Poisson distribution, which has no dispersion."""

import mpmath as mp
from scipy import stats

from hetglm.families.poisson import Poisson
from specs.spec import Spec, poisson_deviance


def loglike(f, y, m, phi, n):
    return y * mp.log(m) - m - mp.loggamma(y + 1)


SPEC = Spec(
    families=[Poisson()],
    loglike=loglike,
    variance=lambda f, m, phi, n: m,
    deviance=lambda f, y, m: poisson_deviance(y, m),
    scipy=lambda m, phi, n: stats.poisson(m),
    refused=[
        ([1, -2], None, "must not be negative; see row 1"),
        ([0.5, 2], None, "whole number; for a rate .* offset_dispersion=0 .* see row 0"),
        ([0, 0], None, "every response is 0"),
    ],
)
