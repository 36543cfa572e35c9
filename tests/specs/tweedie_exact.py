"""Facts of the compound Poisson-gamma distribution."""

import mpmath as mp
import statsmodels.api as sm

import hetglm.api as het
from hetglm.families.tweedie import Tweedie
from specs import tweedie
from specs.spec import REFUSED_COUNTS, Spec


def loglike(f, y, m, phi, n):
    # the series of power 3/2 is a Bessel function: sum z^j/(j! (j - 1)!) = sqrt(z) I_1(2 sqrt(z))
    assert f.power == 1.5
    claims, scale = 2 * mp.sqrt(m) / phi, phi * mp.sqrt(m) / 2
    if y == 0:
        return -claims
    z = claims * y / scale
    return mp.log(mp.besseli(1, 2 * mp.sqrt(z)) * mp.sqrt(z) / y) - claims - y / scale


SPEC = Spec(
    families=[Tweedie(1.5)],
    loglike=loglike,
    variance=tweedie.variance,
    deviance=tweedie.deviance,
    refused=REFUSED_COUNTS,
    model=het.DoubleGLM,
    kwargs={
        "family": sm.families.Tweedie(sm.families.links.Log(), var_power=1.5),
        "likelihood": "exact",
    },
    response="claims",
    alike="gaussian",
)
