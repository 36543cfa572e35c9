"""Facts of the Gamma family."""

import mpmath as mp
import statsmodels.api as sm
from scipy import stats

import hetglm.api as het
from hetglm.families.gamma import Gamma
from specs.spec import Spec, gamma_deviance


def loglike(f, y, m, phi, n):
    k = 1 / phi
    return k * mp.log(k * y / m) - k * y / m - mp.log(y) - mp.loggamma(k)


SPEC = Spec(
    families=[Gamma()],
    loglike=loglike,
    variance=lambda f, m, phi, n: phi * m**2,
    deviance=lambda f, y, m: gamma_deviance(y, m),
    scipy=lambda m, phi, n: stats.gamma(1 / phi, scale=m * phi),
    refused=[([1, 2, 0.0], None, r"Gamma response must be positive; see row 2 \(counted from 0\)")],
    model=het.DoubleGLM,
    kwargs={"family": sm.families.Gamma(sm.families.links.Log())},
    response="positive",
    alike="gaussian",
)
