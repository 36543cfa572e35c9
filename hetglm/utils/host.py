"""
Private names of statsmodels that this package uses: they are imported here and nowhere else.

Where a version of statsmodels has lost one of them, the import of this file fails and names it, so
that ``.ci/host-main`` finds out before any test. The hooks that statsmodels calls on models and results
(``_data_attr``, ``_init_keys``, ``_null_drop_keys``, ``_set_extra_params_names``, ``_get_exogs``,
``_deriv_mean_dparams``, ``_deriv_score_obs_dendog``) stand in ``models/base.py``, where they are met.
"""

from __future__ import annotations

from typing import Any

from statsmodels.base import _parameter_inference
from statsmodels.base._prediction_inference import PredictionResultsBase
from statsmodels.base.model import LikelihoodResultsWrapper, _LLRMixin
from statsmodels.base.optimizer import Optimizer
from statsmodels.stats.outliers_influence import _BaseInfluenceMixin

__all__ = [
    "WRAPPED_ATTRIBUTES",
    "InfluencePlots",
    "PredictionResultsBase",
    "PseudoRSquared",
    "ScoreTestResult",
    "optimise",
    "score_test",
]

#: ``pseudo_rsquared`` and ``llr`` of results.
PseudoRSquared: Any = _LLRMixin
#: ``plot_influence`` and ``plot_index`` of influence measures.
InfluencePlots: Any = _BaseInfluenceMixin
#: Score test of further columns of a model with two linear predictors.
score_test: Any = _parameter_inference.score_test
#: What it returns: a tuple in 0.14, a class of its own later.
ScoreTestResult: Any = getattr(_parameter_inference, "ScoreTestResult", tuple)
#: Attributes of results -> how the wrapper labels them.
WRAPPED_ATTRIBUTES: dict[str, str] = LikelihoodResultsWrapper._attrs
#: Runs an optimiser by its name; takes functions, their starting point and the optimiser's options.
optimise: Any = Optimizer()._fit
