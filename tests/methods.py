"""Every public method of results, with a call of each: of any fit it works or says why not."""

import pickle

import hetglm.api as het

#: Method or function of results -> a call of it, of the results of a formula with the terms "x + group",
#: and of data.
CALLS = {
    "bootstrap": lambda res, data: res.bootstrap(2, "pairs", rng=1),
    "bootstrap parametric": lambda res, data: res.bootstrap(2, "parametric", rng=1),
    "bootstrap cluster": lambda res, data: res.bootstrap(2, "cluster", groups="block", rng=1),
    "boundary_limits": lambda res, data: res.boundary_limits(),
    "compare_constant_dispersion": lambda res, data: res.compare_constant_dispersion(nrep=2, rng=1),
    "conf_int": lambda res, data: res.conf_int(),
    "conf_int profile": lambda res, data: res.conf_int(cols=[0], method="profile"),
    "cov_params": lambda res, data: res.cov_params(),
    "design_effect": lambda res, data: res.design_effect(),
    "diagnose": lambda res, data: str(res.diagnose()),
    "dispersion_ratios": lambda res, data: res.dispersion_ratios(),
    "effective_sample_size": lambda res, data: res.effective_sample_size(),
    "f_test": lambda res, data: res.f_test("x = 0"),
    "get_distribution": lambda res, data: res.get_distribution().rvs(),
    "get_distribution new": lambda res, data: res.get_distribution(data.head(3)).mean(),
    "get_influence": lambda res, data: res.get_influence().summary_frame(),
    "get_influence observed": lambda res, data: res.get_influence(observed=True).d_params,
    "get_influence plot": lambda res, data: res.get_influence().plot_influence(),
    "get_influence index": lambda res, data: res.get_influence().plot_index("cooks"),
    "get_margeff": lambda res, data: res.get_margeff().summary(),
    "get_margeff dispersion": lambda res, data: res.get_margeff(which="dispersion"),
    "get_prediction": lambda res, data: res.get_prediction(data.head(3)).summary_frame(),
    "get_resid": lambda res, data: res.get_resid(rng=1),
    "get_resid dispersion": lambda res, data: res.get_resid("standardized-dispersion"),
    "plot_coefficients": lambda res, data: res.plot_coefficients(),
    "plot_diagnostics": lambda res, data: res.plot_diagnostics(rng=1),
    "plot_dispersion": lambda res, data: res.plot_dispersion("x"),
    "plot_mean_variance": lambda res, data: res.plot_mean_variance(rng=1),
    "plot_profile": lambda res, data: res.plot_profile("x"),
    "plot_qdis": lambda res, data: res.plot_qdis(rng=1),
    "plot_qq": lambda res, data: res.plot_qq(rng=1),
    "predict": lambda res, data: res.predict(data.head(3)),
    "predict var": lambda res, data: res.predict(data.head(3), which="var"),
    "predict dispersion": lambda res, data: res.predict(data.head(3), which="dispersion"),
    "predict prob": lambda res, data: res.predict(data.head(3), which="prob", y_values=[0, 1]),
    "profile": lambda res, data: res.profile("x"),
    "pseudo_rsquared": lambda res, data: res.pseudo_rsquared("mcf"),
    "remove_data": lambda res, data: _without_data(res).predict(data.head(3)),
    "save": lambda res, data: pickle.loads(pickle.dumps(res)).summary(),
    "score_test": lambda res, data: res.score_test(("z", None)),
    "score_test dispersion": lambda res, data: res.score_test((None, "z")),
    "simulate": lambda res, data: res.simulate(2, rng=1),
    "simulate_residuals": lambda res, data: res.simulate_residuals(4, rng=1),
    "summary": lambda res, data: (str(res.summary()), res.summary().as_latex()),
    "summary2": lambda res, data: str(res.summary2()),
    "t_test": lambda res, data: res.t_test("x = 0"),
    "t_test_pairwise": lambda res, data: res.t_test_pairwise("group"),
    "test_random_effect": lambda res, data: res.test_random_effect("block", nrep=4, rng=1),
    "test_random_effect dispersion": lambda res, data: res.test_random_effect(
        "block", part="dispersion", nrep=4, rng=1
    ),
    "test_overdispersion": lambda res, data: str(res.test_overdispersion()),
    "wald_test": lambda res, data: res.wald_test("x = 0"),
    "wald_test_terms": lambda res, data: res.wald_test_terms(),
    "anova": lambda res, data: het.anova(res),
    "anova typ=1": lambda res, data: het.anova(res, typ=1),
    "anova typ=2": lambda res, data: het.anova(res, typ=2, test="wald"),
    "anova typ=3": lambda res, data: het.anova(res, typ=3, test="score"),
    "anova bootstrap": lambda res, data: het.anova(res, test="bootstrap", nrep=2, rng=1),
    "cross_validate": lambda res, data: str(het.cross_validate(res, k=2, rng=1)),
    "stepwise": lambda res, data: het.stepwise(res),
    "llnull": lambda res, data: (res.llnull, res.llr, res.llr_pvalue, res.prsquared),
    "fit HC1": lambda res, data: res.model.fit(cov_type="HC1").bse,
    "fit cluster": lambda res, data: (
        res.model.fit(cov_type="cluster", cov_kwds={"groups": "block"}).bse
    ),
    "fit reml": lambda res, data: res.model.fit(reml=True).summary(),
    "fit bfgs": lambda res, data: res.model.fit(method="bfgs").summary(),
    "text": lambda res, data: (repr(res), str(res.model), repr(res.model)),
}

#: Methods of statsmodels' results that are inherited and documented there.
INHERITED = {"get_nlfun", "initialize", "load", "normalized_cov_params", "set_null_options"}


def _without_data(res):
    copy = pickle.loads(pickle.dumps(res))
    copy.remove_data()
    return copy


def public_methods(res):
    """Return the names of the public methods of results."""
    names = [name for name in dir(type(res._results)) if name[0] != "_"]
    return {name for name in names if callable(getattr(type(res._results), name))} - INHERITED


def refusals(res, data):
    """Return the calls that are refused, with the message; any other error is raised."""
    refused = {}
    for name, call in CALLS.items():
        try:
            call(res, data)
        except (ValueError, NotImplementedError) as exc:
            refused[name] = str(exc)
    return refused
