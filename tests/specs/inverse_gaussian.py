"""Facts of the inverse Gaussian family."""

import mpmath as mp
import statsmodels.api as sm
from scipy import stats

import hetglm.api as het
from hetglm.families.inverse_gaussian import InverseGaussian
from specs.spec import Spec


def loglike(f, y, m, phi, n):
    return -mp.log(2 * mp.pi * phi * y**3) / 2 - (y - m) ** 2 / (2 * phi * m**2 * y)


SPEC = Spec(
    families=[InverseGaussian()],
    loglike=loglike,
    variance=lambda f, m, phi, n: phi * m**3,
    deviance=lambda f, y, m: (y - m) ** 2 / (m**2 * y),
    scipy=lambda m, phi, n: stats.invgauss(m * phi, scale=1 / phi),
    refused=[([1, -2, 0.0], None, "inverse Gaussian response must be positive; see rows 1, 2")],
    model=het.DoubleGLM,
    kwargs={"family": sm.families.InverseGaussian(sm.families.links.Log())},
    response="wald",
    alike="gaussian",
)
