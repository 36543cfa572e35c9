"""Inverse links against mpmath: both tails of the mean and two derivatives."""

from functools import cache

import mpmath as mp
import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

from hetglm.likelihood.links import _EXACT, check_link, invert, invert_dispersion

links = sm.families.links
EPS = np.finfo(float).eps

#: Roundings in units of the last place, over what the last place of eta itself decides.
ROUNDINGS = 8
#: statsmodels' links outside the exact ones: roundings, and for d2 its own numerical differences.
STATSMODELS, STATSMODELS_D2 = 1e-12, 1e-6

BOTH_TAILS = [-30.0, -20.0, -6.5, -2.5, -0.1, 0.0, 1e-3, 0.4, 1.0, 3.0, 6.5, 20.0, 30.0]
LOGC_TAIL = [-45.0, -20.0, -2.0, -0.3, -1e-9]
POSITIVE = [1e-3, 0.2, 0.9, 1.0, 2.5, 40.0]
NEGATIVE = [-5.0, -1.0, -0.3, -0.01]
ANY = [*(-x for x in POSITIVE), *POSITIVE]

#: link, its inverse for mpmath, linear predictors inside its domain
LINKS = {
    "Logit": (links.Logit(), lambda t: 1 / (1 + mp.exp(-t)), [*BOTH_TAILS, -700.0, 700.0]),
    "Probit": (links.Probit(), mp.ncdf, BOTH_TAILS),
    "CLogLog": (links.CLogLog(), lambda t: -mp.expm1(-mp.exp(t)), BOTH_TAILS[:-2]),
    "LogLog": (links.LogLog(), lambda t: mp.exp(-mp.exp(-t)), BOTH_TAILS[2:]),
    "Cauchy": (links.Cauchy(), lambda t: mp.atan2(1, -t) / mp.pi, [*BOTH_TAILS, -1e9, 1e9]),
    "Log": (links.Log(), mp.exp, [*BOTH_TAILS, -700.0, 700.0]),
    "Identity": (links.Identity(), lambda t: t, BOTH_TAILS),
    "LogC": (links.LogC(), lambda t: -mp.expm1(t), LOGC_TAIL),
    "InversePower": (links.InversePower(), lambda t: 1 / t, ANY),
    "InverseSquared": (links.InverseSquared(), lambda t: 1 / mp.sqrt(t), POSITIVE),
    "Sqrt": (links.Sqrt(), lambda t: t**2, ANY),
    "Power(3)": (links.Power(3), mp.cbrt, POSITIVE),
    "Power(1)": (links.Power(1), lambda t: t, ANY),
    "NegativeBinomial": (
        links.NegativeBinomial(alpha=0.7),
        lambda t: 1 / (mp.mpf(0.7) * mp.expm1(-t)),
        NEGATIVE,
    ),
}
#: 1 - mu where it has a tail of its own.
COMPLEMENTS = {
    "Logit": lambda t: 1 / (1 + mp.exp(t)),
    "Probit": lambda t: mp.ncdf(-t),
    "CLogLog": lambda t: mp.exp(-mp.exp(t)),
    "LogLog": lambda t: -mp.expm1(-mp.exp(-t)),
    "Cauchy": lambda t: mp.atan2(1, t) / mp.pi,
    "Log": lambda t: -mp.expm1(t),
    "LogC": mp.exp,
}
EXACT = [name for name, (link, _, _) in LINKS.items() if type(link) in _EXACT]


def mp_inverse(inverse, eta, complement=None):
    """Return mu, nu, d1, d2 and d3 at eta to 30 digits, however small a tail."""
    with mp.workdps(60):
        eta = mp.mpf(eta)
        mu = inverse(eta)
        nu = 1 - mu if complement is None else complement(eta)
        low = complement is None or mu <= nu
        slopes = mp.taylor(inverse if low else complement, eta, 3, chop=False)[1:]
        return mu, nu, *(c * mp.factorial(k) * (1 if low else -1) for k, c in enumerate(slopes, 1))


@cache
def exact(name):
    """Return `mp_inverse` of a link at each of its linear predictors."""
    _, inverse, etas = LINKS[name]
    return [mp_inverse(inverse, eta, COMPLEMENTS.get(name)) for eta in etas]


@pytest.mark.parametrize("name", EXACT)
def test_exactly_inverted_in_both_tails(name):
    link, _, etas = LINKS[name]
    got = invert(link, np.array(etas))
    for i, (eta, (mu, nu, d1, d2, d3)) in enumerate(zip(etas, exact(name), strict=True)):
        # what a rounding of eta decides, and the values themselves; d2 passes through zero
        parts = zip(
            ("mu", "nu", "d1", "d2"), (mu, nu, d1, d2), (d1, d1, d2, d3), (0, 0, 0, d1), strict=True
        )
        for part, value, slope, floor in parts:
            unit = EPS * (abs(value) + abs(eta * slope) + abs(floor))
            error = abs(mp.mpf(float(getattr(got, part)[i])) - value)
            assert error <= ROUNDINGS * unit, (part, eta, float(error / unit))


@pytest.mark.parametrize("name", LINKS)
def test_inverse_and_derivatives(name):
    link, _, etas = LINKS[name]
    got = invert(link, np.array(etas))
    values = np.array(exact(name), dtype=float)[:, :4].T
    for part, value in zip(("mu", "nu", "d1"), values, strict=False):
        assert_allclose(
            getattr(got, part), value, rtol=STATSMODELS, atol=STATSMODELS * (part == "nu")
        )
    atol = STATSMODELS_D2 * abs(values[2])
    assert np.all(abs(got.d2 - values[3]) <= STATSMODELS_D2 * abs(values[3]) + atol)
    assert all(a.shape == (len(etas),) and a.dtype == float for a in got)


def test_every_link_of_statsmodels_is_covered():
    # lower-case aliases are deprecated; the abstract ones have no inverse of their own
    known = {
        name
        for name, cls in vars(links).items()
        if isinstance(cls, type) and issubclass(cls, links.Link) and name[0].isupper()
    }
    tested = {type(link).__name__ for link, _, _ in LINKS.values()}
    assert known - {"Link", "CDFLink"} == tested


@pytest.mark.parametrize("name", ["Logit", "Probit", "CLogLog", "LogLog", "Cauchy"])
@pytest.mark.parametrize("eta", [1e3, 1e200])
def test_far_out_a_probability_stays_one(name, eta):
    got = invert(LINKS[name][0], np.array([-eta, eta]))
    assert_allclose(got.mu, [0, 1], atol=1 / 3e3)
    assert_allclose(got.nu, [1, 0], atol=1 / 3e3)
    assert_allclose(got.d1, 0, atol=1 / 3e6)
    assert_allclose(got.d2, 0, atol=1 / 3e6)


@pytest.mark.parametrize(
    ("name", "eta"),
    [
        ("Logit", 38.0),
        ("Probit", 9.0),
        ("CLogLog", 4.5),
        ("LogLog", 38.0),
        ("Cauchy", 1e17),
        ("LogC", -40.0),
        ("Log", -1e-17),
    ],
)
def test_the_upper_tail_keeps_its_digits(name, eta):
    # where 1 - mu is 0
    got = invert(LINKS[name][0], np.array([eta]))
    assert_allclose(got.nu[0], float(COMPLEMENTS[name](mp.mpf(eta))), rtol=1e-12)
    assert 1 - got.mu[0] == 0


class Softplus:
    """A link that is no subclass of statsmodels'."""

    def __call__(self, p):
        return np.log(np.expm1(p))

    def inverse(self, z):
        return np.log1p(np.exp(z))

    def deriv(self, p):
        return 1 / -np.expm1(-p)

    def inverse_deriv(self, z):
        return 1 / (1 + np.exp(-z))

    def inverse_deriv2(self, z):
        t = 1 / (1 + np.exp(-z))
        return t * (1 - t)


class Squared(links.Link):
    """A link with the least that statsmodels asks for: its derivatives are the base class's."""

    def __call__(self, p):
        return p**2

    def inverse(self, z):
        return np.sqrt(z)

    def deriv(self, p):
        return 2 * p


class Shifted(links.Log):
    """A subclass of a link that is inverted exactly; its own inverse counts."""

    def inverse(self, z):
        return np.exp(z) + 1

    def inverse_deriv(self, z):
        return np.exp(z)

    def inverse_deriv2(self, z):
        return np.exp(z)


@pytest.mark.parametrize(
    ("link", "inverse", "etas"),
    [
        (Softplus(), lambda t: mp.log(1 + mp.exp(t)), [-3.0, 0.0, 2.0]),
        (Squared(), mp.sqrt, [0.3, 1.0, 7.0]),
        (Shifted(), lambda t: mp.exp(t) + 1, [-3.0, 0.0, 2.0]),
    ],
)
def test_a_users_link(link, inverse, etas):
    got = invert(check_link(link, "link"), np.array(etas))
    values = np.array([mp_inverse(inverse, eta)[:4] for eta in etas], dtype=float).T
    for value, expected in zip(got, values, strict=True):
        assert_allclose(value, expected, rtol=STATSMODELS)


def test_leaving_the_domain_warns_not():
    for name in ("Log", "CLogLog", "InversePower", "InverseSquared", "NegativeBinomial", "Logit"):
        invert(LINKS[name][0], np.array([-1e4, 0.0, 1e4]))


@pytest.mark.parametrize(
    ("given", "shown"), [(links.Log, "Log"), ("log", "'log'"), (None, "None"), (np.log, "log")]
)
def test_no_link(given, shown):
    with pytest.raises(ValueError, match=rf"link_dispersion: pass an instance .*not .*{shown}"):
        check_link(given, "link_dispersion")


def test_a_link_is_returned_as_it_is():
    link = links.Log()
    assert check_link(link, "link") is link


def test_log_dispersions_beyond_any_double():
    """A row on its way to infinity keeps a finite square; one that is held there is infinite."""
    with np.errstate(all="raise"):
        phi, d1, d2 = invert_dispersion(sm.families.links.Log(), np.array([800.0, np.inf, 0.0]))
    assert np.isfinite(phi[0] ** 2)
    assert phi[0] > 1e100
    assert phi[1:].tolist() == [np.inf, 1.0]
    assert d1.tolist() == d2.tolist() == [phi[0], 0.0, 1.0]  # at infinity nothing changes
