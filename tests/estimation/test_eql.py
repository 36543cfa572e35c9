"""Where the extended quasi-likelihood (EQL) can be trusted, and what is said where it cannot."""

from __future__ import annotations

import re
import warnings

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import xlogy

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation import checks
from hetglm.exceptions import NotNestedError, SmallCountsWarning
from hetglm.families.of_statsmodels import of_statsmodels

F, LINKS, LOG = sm.families, sm.families.links, sm.families.links.Log()

# ---- data of one dispersion, in two groups -------------------------------------------------------


def poisson_deviance(y, mu):
    return 2 * (xlogy(y, y / mu) - (y - mu))


def binomial_deviance(k, n, mu):
    return 2 * (xlogy(k, k / (n * mu)) + xlogy(n - k, (n - k) / (n * (1 - mu))))


def negative_binomial_deviance(y, mu, alpha):
    return 2 * (xlogy(y, y / mu) - (y + 1 / alpha) * np.log((1 + alpha * y) / (1 + alpha * mu)))


def tweedie_deviance(y, mu, p):
    a, b = 1 - p, 2 - p
    return 2 * (y**b / (a * b) - y * mu**a / a + mu**b / b)


def counts(rng, mu, variance, size):
    """Return counts: binomial, Poisson or negative binomial by their variance."""
    if variance < mu:
        trials = round(mu / (1 - variance / mu))
        return rng.binomial(trials, mu / trials, size).astype(float)
    if variance > mu:
        scale = variance / mu - 1
        mu = rng.gamma(mu / scale, scale, size)
    return rng.poisson(mu, size).astype(float)


def successes(rng, n, mu, phi, size):
    """Return binomial counts, or beta-binomial ones of variance phi n mu (1 - mu)."""
    if phi > 1:
        rest = (n - phi) / (phi - 1)  # (1 - rho)/rho, rho = (phi - 1)/(n - 1)
        mu = rng.beta(mu * rest, (1 - mu) * rest, size)
    return rng.binomial(n, mu, size).astype(float)


def claims(rng, mu, phi, p, size):
    """Return a Poisson number of gamma claims, of variance phi mu^p."""
    number = rng.poisson(mu ** (2 - p) / (phi * (2 - p)), size)
    shape, scale = number * (2 - p) / (p - 1), phi * (p - 1) * mu ** (p - 1)
    return np.where(number > 0, rng.gamma(np.where(number > 0, shape, 1), scale), 0.0)


def drawn(rng, kind, mu, phi, extra, size):
    """Return responses of a group and their unit deviances from its mean, and that mean."""
    if kind == "binomial":
        y = successes(rng, extra, mu, phi, size)
        level = y.mean(axis=-1, keepdims=True) / extra
        return y, binomial_deviance(y, extra, level), level[..., 0]
    if kind == "tweedie":
        y = claims(rng, mu, phi, extra, size)
    else:
        V = mu if kind == "poisson" else mu + extra * mu**2
        y = counts(rng, mu, phi * V, size)
    level = y.mean(axis=-1, keepdims=True)
    deviance = {
        "poisson": lambda: poisson_deviance(y, level),
        "negative binomial": lambda: negative_binomial_deviance(y, level, extra),
        "tweedie": lambda: tweedie_deviance(y, level, extra),
    }[kind]()
    return y, deviance, level[..., 0]


def quasi(kind, extra):
    """Return the family of the package, by extended quasi-likelihood."""
    return of_statsmodels(statsmodels_family(kind, extra), LIKELIHOOD.get(kind))


LIKELIHOOD = {"tweedie": "eql"}


def statsmodels_family(kind, extra):
    return {
        "poisson": lambda: F.Poisson(),
        "binomial": lambda: F.Binomial(),
        "negative binomial": lambda: F.NegativeBinomial(LOG, alpha=extra),
        "tweedie": lambda: F.Tweedie(LOG, var_power=extra),
    }[kind]()


def two_groups(rng, kind, groups, phi, n, share, draws):
    """
    Return what the two-sample problem y ~ g | g gives in closed form, each of shape (draws,).

    The mean of each group is its average and its phi the average of its unit deviances.

    Returns
    -------
    ratio : ndarray
        Likelihood ratio against constant dispersion.
    size : ndarray
        Size of its test that the rule expects.
    y : tuple of ndarrays
    """
    first = round(share * n)
    rows, ys, phis, errors = (first, n - first), [], [], []
    means = []
    for (mu, extra), m in zip(groups, rows, strict=True):
        y, d, level = drawn(rng, kind, mu, phi, extra, (draws, m))
        ys.append(y)
        phis.append(d.mean(axis=-1))
        means.append(level)
    common = (rows[0] * phis[0] + rows[1] * phis[1]) / n
    reference = common if kind == "tweedie" else np.maximum(common, 1 / common)
    for (_, extra), level in zip(groups, means, strict=True):
        trials = extra if kind == "binomial" else 1
        errors.append(quasi(kind, extra).saddlepoint_error(level, 1 - level, reference / trials))
    ratio = n * np.log(common) - rows[0] * np.log(phis[0]) - rows[1] * np.log(phis[1])
    bias = np.sqrt(0.5 * rows[0] * rows[1] / n) * np.abs(errors[0] - errors[1])
    spread = 1 + np.maximum(*errors)
    size = [
        checks.SmallCounts(*found, "").size for found in zip(errors[0], spread, bias, strict=True)
    ]
    return ratio, np.array(size), ys


#: Kind, what the groups are (mean, and trials, alpha or power) and phi.
DATA = {
    "Poisson, 0.1 and 0.6": ("poisson", ((0.1, 0), (0.6, 0)), 1),
    "Poisson, 1 in both": ("poisson", ((1, 0), (1, 0)), 1),
    "Poisson, 2 and 10": ("poisson", ((2, 0), (10, 0)), 1),
    "Poisson, 4 in both": ("poisson", ((4, 0), (4, 0)), 1),
    "Poisson, 5 and 20": ("poisson", ((5, 0), (20, 0)), 1),
    "Poisson, 20 and 80": ("poisson", ((20, 0), (80, 0)), 1),
    "NB, phi = 2, 3 and 6": ("poisson", ((3, 0), (6, 0)), 2),
    "NB, phi = 2, 8 in both": ("poisson", ((8, 0), (8, 0)), 2),
    "NB, phi = 2, 20 and 80": ("poisson", ((20, 0), (80, 0)), 2),
    "NB, phi = 5, 20 in both": ("poisson", ((20, 0), (20, 0)), 5),
    "NB, phi = 5, 100 and 400": ("poisson", ((100, 0), (400, 0)), 5),
    "underdispersed, phi = 0.5, 3 in both": ("poisson", ((3, 0), (3, 0)), 0.5),
    "underdispersed, phi = 0.5, 10 and 40": ("poisson", ((10, 0), (40, 0)), 0.5),
    "binomial of 2, 0.5 in both": ("binomial", ((0.5, 2), (0.5, 2)), 1),
    "binomial of 5, 0.05 and 0.4": ("binomial", ((0.05, 5), (0.4, 5)), 1),
    "binomial of 10, 0.5 in both": ("binomial", ((0.5, 10), (0.5, 10)), 1),
    "binomial of 20, 0.2 in both": ("binomial", ((0.2, 20), (0.2, 20)), 1),
    "binomial of 50, 0.02 and 0.5": ("binomial", ((0.02, 50), (0.5, 50)), 1),
    "binomial of 50, 0.3 and 0.5": ("binomial", ((0.3, 50), (0.5, 50)), 1),
    "beta-binomial of 10, phi = 3, 0.3 in both": ("binomial", ((0.3, 10), (0.3, 10)), 3),
    "beta-binomial of 50, phi = 2, 0.2 in both": ("binomial", ((0.2, 50), (0.2, 50)), 2),
    "beta-binomial of 20 and 100, phi = 1.5, 0.4": ("binomial", ((0.4, 20), (0.4, 100)), 1.5),
    "NB family (alpha 0.3), 2 and 20": ("negative binomial", ((2, 0.3), (20, 0.3)), 1),
    "NB family (alpha 0.3), 10 in both": ("negative binomial", ((10, 0.3), (10, 0.3)), 1),
    "NB family (alpha 0.3), phi = 1.5, 20 and 40": (
        "negative binomial",
        ((20, 0.3), (40, 0.3)),
        1.5,
    ),
    "Tweedie 1.5, phi = 1, 1 and 3": ("tweedie", ((1, 1.5), (3, 1.5)), 1),
    "Tweedie 1.5, phi = 0.3, 3 in both": ("tweedie", ((3, 1.5), (3, 1.5)), 0.3),
    "Tweedie 1.5, phi = 0.3, 10 and 100": ("tweedie", ((10, 1.5), (100, 1.5)), 0.3),
    "Tweedie 1.8, phi = 0.2, 1 and 10": ("tweedie", ((1, 1.8), (10, 1.8)), 0.2),
}
#: Rows in all, and the share of them in the first group.
SIZES = [(100, 0.5), (100, 0.2), (400, 0.5), (1000, 0.2), (4000, 0.5)]
#: Size in per cent of a test at 5 % where no warning is given, and draws of each problem.
SILENT, DRAWS = (3.0, 8.0), 2000
EVERY = [(name, n, share) for name in DATA for n, share in SIZES]


def sizes(name, n, share, draws=DRAWS):
    """Return percentages: rejections, warnings, rejections without one; and draws without one."""
    kind, groups, phi = DATA[name]
    rng = np.random.default_rng([n, round(100 * share), *name.encode()])
    ratios, expected = [], []
    for _ in range(max(1, draws * n // 1_000_000)):  # in pieces that fit into memory
        part = draws // max(1, draws * n // 1_000_000)
        with np.errstate(all="ignore"):  # a group of zeros has no phi; it is warned of
            ratio, size, _ = two_groups(rng, kind, groups, phi, n, share, part)
        ratios.append(np.nan_to_num(ratio, nan=np.inf))
        expected.append(size)
    rejected = np.concatenate(ratios) > stats.chi2.isf(0.05, 1)
    warned = np.concatenate(expected) > checks.MAX_SIZE
    silent = 100 * rejected[~warned].mean() if not warned.all() else np.nan
    return 100 * rejected.mean(), 100 * warned.mean(), silent, int((~warned).sum())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n", "share"), EVERY)
def test_size_is_right_where_no_warning_is_given(name, n, share):
    _, _, silent, draws = sizes(name, n, share)
    if draws < 200:
        return
    error = 100 * np.sqrt(0.05 * 0.95 / draws)
    assert SILENT[0] - 3 * error < silent < SILENT[1] + 3 * error
    if draws == DRAWS:
        assert SILENT[0] < silent < SILENT[1]


def test_warnings_are_given_where_the_size_is_wrong_and_only_there():
    """Few draws of a few problems: the whole table is slow."""
    for name, n, low, high in (
        ("Poisson, 0.1 and 0.6", 4000, 90, 100),
        ("Poisson, 2 and 10", 4000, 20, 100),
        ("Poisson, 1 in both", 400, 0, 3),
        ("binomial of 5, 0.05 and 0.4", 4000, 90, 100),
    ):
        size, warned, _, _ = sizes(name, n, 0.5, 60)
        assert low <= size <= high
        assert warned == 100
    for name, n in (("Poisson, 20 and 80", 4000), ("Poisson, 5 and 20", 100)):
        size, warned, _, _ = sizes(name, n, 0.5, 200)
        assert size < 12
        assert warned < 5


@pytest.mark.parametrize(
    "name",
    [
        "Poisson, 5 and 20",
        "beta-binomial of 20 and 100, phi = 1.5, 0.4",
        "NB family (alpha 0.3), 2 and 20",
        "Tweedie 1.5, phi = 1, 1 and 3",
    ],
)
def test_closed_forms_are_those_of_the_results(name, monkeypatch):
    kind, groups, phi = DATA[name]
    rng = np.random.default_rng(5)
    ratio, size, ys = two_groups(rng, kind, groups, phi, 100, 0.3, 1)
    y, g = np.concatenate([part[0] for part in ys]), np.repeat([0.0, 1.0], [30, 70])
    X = np.column_stack([np.ones(100), g])
    trials = np.repeat([float(extra) for _, extra in groups], [30, 70])
    given = {"n_trials": trials} if kind == "binomial" else {}
    monkeypatch.setattr(checks, "MAX_SIZE", -1.0)
    family = statsmodels_family(kind, groups[0][1])
    model = het.DoubleGLM(y, X, X, family=family, likelihood=LIKELIHOOD.get(kind), **given)
    with pytest.warns(SmallCountsWarning):
        res = model.fit()
    assert_allclose(res.compare_constant_dispersion().statistic, ratio[0], rtol=1e-6, atol=1e-8)
    found = checks.small_counts(model.core, res.fit)
    assert_allclose(found.size, size[0], rtol=1e-6)
    # another coding of the same groups
    other = model.clone(exog_dispersion=np.column_stack([1 - g, 2 * g - 7]))
    with pytest.warns(SmallCountsWarning):
        again = checks.small_counts(other.core, other.fit().fit)
    assert_allclose((again.bias, again.se_ratio), (found.bias, found.se_ratio), rtol=1e-6)


# ---- the error of the saddlepoint ----------------------------------------------------------------

QUASI = {
    "poisson": quasi("poisson", None),
    "binomial": quasi("binomial", None),
    "negative binomial": quasi("negative binomial", 0.3),
    **{f"tweedie-{p:g}": quasi("tweedie", p) for p in (1, 1.5, 2, 2.6, 3)},
}


@pytest.mark.parametrize("name", QUASI)
def test_error_is_that_of_the_variance_function(name):
    family = QUASI[name]
    for mu in (0.07, 0.4, 0.9):

        def variance(m, family=family):
            if name == "binomial":
                return m * (1 - m)
            if name == "poisson":
                return m
            return m + 0.3 * m**2 if name == "negative binomial" else m**family.power

        V, slope, bend = (mp.diff(variance, mp.mpf(mu), k) for k in range(3))
        at = np.array([mu])
        assert_allclose(
            family.unit_error(at, 1 - at), float(slope**2 / (6 * V) - bend / 4), atol=1e-12
        )


@pytest.mark.parametrize("mu", [3.0, 5.0, 20.0, 100.0])
def test_error_is_that_of_the_exact_expectation(mu):
    """E[d] - 1 by summation: of a Poisson count, and of a binomial one with the same mean."""
    y = np.arange(int(mu + 40 * np.sqrt(mu) + 40))
    exact = stats.poisson.pmf(y, mu) @ poisson_deviance(y, mu) - 1
    at, one = np.array([mu]), np.ones(1)
    error = QUASI["poisson"].saddlepoint_error(at, None, one)
    assert_allclose(error, exact, rtol=0.25 if mu < 20 else 0.02)
    n = 4 * round(mu)
    y, p = np.arange(n + 1), mu / n
    exact = stats.binom.pmf(y, n, p) @ binomial_deviance(y, n, p) - 1
    error = QUASI["binomial"].saddlepoint_error(at / n, 1 - at / n, one / n)
    assert_allclose(error, exact, rtol=0.25 if mu < 20 else 0.02)


def test_error_is_finite_at_the_limits_of_the_mean():
    for name, family in QUASI.items():
        mu = np.array([0.0, 1e-300, 1.0])
        error = family.saddlepoint_error(mu, 1 - mu, np.ones(3))
        assert np.all((error >= 0) & (error <= 1)), name


# ---- what is said --------------------------------------------------------------------------------


def grouped(means=(0.1, 0.6), n=4000, seed=1):
    """Return pure Poisson and binomial counts in two groups."""
    rng, g = np.random.default_rng(seed), np.repeat([0, 1], n // 2)
    y = rng.poisson(np.where(g, means[1], means[0]))
    K = rng.binomial(5, np.where(g, 0.4, 0.05))
    return pd.DataFrame({"g": g, "y": y, "K": K, "N": 5}, index=[f"r{i}" for i in range(n)])


CASES = {
    "poisson": ("y ~ g | g", F.Poisson(), None, "negativebinomial"),
    "negative binomial": (
        "y ~ g | g",
        F.NegativeBinomial(LOG, alpha=0.1),
        None,
        "negativebinomial",
    ),
    "binomial": ("K + I(N - K) ~ g | g", F.Binomial(), None, "betabinomial"),
    "tweedie": ("y ~ g | g", F.Tweedie(LOG, var_power=1.5), "eql", 'likelihood="exact"'),
    "tweedie-1": ("y ~ g | g", F.Tweedie(LOG, var_power=1), None, "negativebinomial"),
    "constant": ("y ~ g", F.Poisson(), None, "negativebinomial"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reml", [False, True])
def test_small_counts_are_reported(name, reml):
    formula, family, likelihood, instead = CASES[name]
    model = hmf.doubleglm(formula, grouped(), family=family, likelihood=likelihood)
    with pytest.warns(SmallCountsWarning, match="expected counts are small .* use ") as caught:
        res = model.fit(reml=reml)
    assert instead in str(caught[0].message)
    text = " ".join(res.summary().as_text().replace("quasi- ", "quasi-").split())
    assert "Note: expected counts are small" in text
    found = [finding for finding in res.diagnose() if finding.kind == "small counts"]
    assert len(found) == 1
    assert instead in found[0].remedy
    assert set(found[0].rows) >= set(range(2000))
    assert "r0, r1" in found[0].evidence


@pytest.mark.parametrize(
    "model",
    [
        lambda d: hmf.doubleglm("y ~ g | g", d[:400], family=F.Poisson()),
        lambda d: hmf.doubleglm("y ~ g", d, family=F.Poisson()),
        # the effects have no bias between groups of equal means
        lambda d: hmf.doubleglm(
            "y ~ 1 | h", d.assign(h=np.arange(4000) % 2)[:2000], family=F.Poisson()
        ),
        lambda d: hmf.negativebinomial("small ~ g", d),
        lambda d: hmf.doubleglm("small ~ g | g", d, family=F.Tweedie(LOG, var_power=1.5)),
        # a continuous response of that variance has no steps, however small its phi
        lambda d: hmf.doubleglm("level ~ g | g", d, family=F.Poisson()),
    ],
)
def test_nothing_is_said_without_reason(model):
    rng = np.random.default_rng(3)
    d = grouped((10, 40), seed=2).sort_values("g", kind="stable")
    small = grouped(seed=4)["y"]
    d = d.assign(small=small, level=rng.normal(3 + d.g, 0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of others
        warnings.simplefilter("error", SmallCountsWarning)
        res = model(d).fit()
    assert "small counts" not in res.diagnose().kinds
    assert "expected counts" not in res.summary().as_text()


def test_moderate_counts_are_too_small_for_many_rows_only():
    data = grouped((2, 10))
    with pytest.warns(SmallCountsWarning, match=r"off by about 2.\d standard errors"):
        hmf.doubleglm("y ~ g | g", data, family=F.Poisson()).fit()


def test_less_variable_counts_are_small_by_their_variance():
    """A count of mean 3 and variance 0.6 is 2, 3 or 4."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": np.where(rng.uniform(size=400) < 0.2, 4, rng.integers(2, 4, 400))})
    with pytest.warns(SmallCountsWarning):
        res = hmf.doubleglm("y ~ 1", data, family=F.Poisson()).fit()
    assert res.fitted_dispersion.iloc[0] < 0.3


def test_frequencies_are_rows():
    data = grouped((2, 10), n=400)
    table = data.groupby(["g", "y"], as_index=False).size()
    found = []
    for rows, given in ((data, {}), (table, {"freq_weights": "size"})):
        model = hmf.doubleglm("y ~ g | g", rows, family=F.Poisson(), **given)
        with pytest.warns(SmallCountsWarning):
            found.append(checks.small_counts(model.core, model.fit().fit))
    assert_allclose(found[0].bias, found[1].bias, rtol=1e-6)
    assert_allclose(found[0].se_ratio, found[1].se_ratio, rtol=1e-6)


def test_compound_poisson_gamma_has_its_density_by_default():
    """Nine tenths zeros and no dispersion effect: the EQL says P = 5e-44."""
    rng, n = np.random.default_rng(1), 6000
    g = rng.integers(0, 2, n)
    y = claims(rng, np.exp(4 + 0.4 * g), 150.0, 1.5, n)
    data = pd.DataFrame({"y": y, "g": g})
    family = F.Tweedie(LOG, var_power=1.5)
    res = hmf.doubleglm("y ~ g | g", data, family=family).fit()
    assert res.model.core.family.exact
    assert res.pvalues.iloc[-1] > 0.05
    assert abs(res.params_dispersion.iloc[0] - np.log(150)) < 4 * res.bse.iloc[2]
    with pytest.warns(SmallCountsWarning, match='likelihood="exact"'):
        eql = hmf.doubleglm("y ~ g | g", data, family=family, likelihood="eql").fit()
    assert eql.pvalues.iloc[-1] < 1e-3


# ---- criteria ------------------------------------------------------------------------------------


def test_criteria_are_compared_with_their_like_only():
    data = grouped((10, 40), n=200)
    poisson = hmf.doubleglm("y ~ g | g", data, family=F.Poisson()).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        others = [
            hmf.negativebinomial("y ~ g", data).fit(),
            hmf.doubleglm("y ~ g", data, family=F.NegativeBinomial(LOG, alpha=0.1)).fit(),
            hmf.doubleglm("y ~ g", data, family=F.Gaussian()).fit(),
        ]
    for other in others:
        with pytest.raises(NotNestedError, match=r"not comparable") as caught:
            het.anova(poisson, other)
        assert "compare their AIC" not in str(caught.value)
    with pytest.raises(NotNestedError, match=r"compare their AIC, computed from .*\(EQL\)"):
        het.anova(poisson, hmf.doubleglm("y ~ g | g", data, family=F.Poisson(LINKS.Sqrt())).fit())
    with pytest.raises(NotNestedError, match=r"with a constant, all of the extended quasi-"):
        hmf.doubleglm("y ~ g | 0 + g", data, family=F.Poisson()).fit().compare_constant_dispersion()


def main():
    """Print the table of sizes."""
    print(
        f"{'one dispersion in both groups':42} {'rows':>5} {'share':>5} {'size':>6} {'warned':>7} silent"
    )
    for name, n, share in EVERY:
        size, warned, silent, _ = sizes(name, n, share)
        print(f"{name:42} {n:5d} {share:5.1f} {size:6.1f} {warned:6.0f}% {silent:6.1f}", flush=True)


if __name__ == "__main__":
    main()


def test_tables_label_criteria_of_an_eql(data):
    from statsmodels.iolib.summary2 import summary_col

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallCountsWarning)
        res = hmf.doubleglm("count ~ x | z", data, family=sm.families.Poisson()).fit()
    text = res.summary2().as_text()
    assert "AIC (EQL):" in text
    assert "BIC (EQL):" in text
    labelled = summary_col([res], info_dict={"AIC (EQL)": lambda r: f"{r.aic:.1f}"}).as_text()
    assert re.search(rf"AIC \(EQL\) +{res.aic:.1f}", labelled)
