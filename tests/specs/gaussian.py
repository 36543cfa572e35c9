"""Facts of the Gaussian family."""

import mpmath as mp
import numpy as np
import statsmodels.api as sm
from scipy import stats

import hetglm.api as het
from hetglm.families.gaussian import Gaussian
from specs.spec import Spec


def loglike(f, y, m, phi, n):
    return -mp.log(2 * mp.pi * phi) / 2 - (y - m) ** 2 / (2 * phi)


SPEC = Spec(
    families=[Gaussian()],
    loglike=loglike,
    variance=lambda f, m, phi, n: phi,
    deviance=lambda f, y, m: (y - m) ** 2,
    scipy=lambda m, phi, n: stats.norm(m, np.sqrt(phi)),
    model=het.DoubleGLM,
    kwargs={"family": sm.families.Gaussian()},
    response="gaussian",
)
