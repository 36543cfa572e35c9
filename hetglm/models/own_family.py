"""Models of one family each: made from `families.registry.MODELS`, documented from one template."""

from __future__ import annotations

from typing import Any, ClassVar

from statsmodels.genmod.families import links

from hetglm.design import keywords
from hetglm.design.arrays import split_binomial
from hetglm.families import registry
from hetglm.families.base import Family, ModelSpec
from hetglm.models.base import ROW_ARRAYS, LocationScaleModel
from hetglm.typing import Array

DOCUMENTATION = """
{title}

{text}

Parameters
----------
endog : array_like, shape {shape}
    {endog}
exog : array_like, shape (n, p)
    Design of the mean; no constant is added.
exog_dispersion : array_like, shape (n, q), optional
    Design of the dispersion {symbol}; a constant by default. No columns (``| 0`` in a formula,
    ``np.empty((n, 0))``) with offset_dispersion, for a known {symbol}.
link : statsmodels link
    Link of mu, ``{link}`` by default.
link_dispersion : statsmodels link
    Link of {symbol}, ``{link_dispersion}`` by default.
offset : array_like, shape (n,), optional
    Added to the mean's linear predictor.
exposure : array_like, shape (n,), optional
    Its logarithm is added to the mean's linear predictor; log link only.
offset_dispersion : array_like, shape (n,), optional
    Added to the dispersion's linear predictor.
n_trials : {n_trials}
var_weights : {var_weights}
freq_weights : array_like, shape (n,), optional
    Number of times each row was observed.
random : list of RandomTerm, optional
    Random effects; in a formula they are written as terms.
missing : {{"none", "drop", "raise"}}
    Treatment of rows with missing values.
hasconst : bool, optional
    Whether exog has a constant; detected by default.
**unknown
    Any other name raises a TypeError that gives the name in this package.

References
----------
{references}

Examples
--------
>>> import hetglm.api as het
>>> import hetglm.formula.api as hmf
{example}
"""
TAKEN = {
    "n_trials": "array_like, shape (n,), optional\n    Trials of each row.",
    "var_weights": "array_like, shape (n,), optional\n    Prior weights w, which divide {symbol}.",
}


class OwnFamily(LocationScaleModel):
    """Model of one family: not used directly, `model_class` makes its subclasses."""

    _family: ClassVar[type[Family]]
    _links: ClassVar[tuple[Any, Any]]

    def __init__(
        self,
        endog: Any,
        exog: Any,
        exog_dispersion: Any = None,
        *,
        link: Any = None,
        link_dispersion: Any = None,
        offset: Any = None,
        exposure: Any = None,
        offset_dispersion: Any = None,
        n_trials: Any = None,
        var_weights: Any = None,
        freq_weights: Any = None,
        random: Any = None,
        missing: str = "none",
        hasconst: bool | None = None,
        **unknown: Any,
    ) -> None:
        keywords.refuse(type(self), unknown)
        given = zip((link, link_dispersion), self._links, strict=True)
        link, link_dispersion = (default() if own is None else own for own, default in given)
        super().__init__(
            endog,
            exog,
            exog_dispersion,
            family=self._family(),
            link=link,
            link_dispersion=link_dispersion,
            offset=offset,
            exposure=exposure,
            offset_dispersion=offset_dispersion,
            n_trials=n_trials,
            var_weights=var_weights,
            freq_weights=freq_weights,
            random=random,
            missing=missing,
            hasconst=hasconst,
        )

    def _design_keys(self) -> list[str]:
        return [*super()._design_keys(), "link"]

    def _response(self, arrays: dict[str, Any], name: str) -> tuple[Array, Array | None]:
        if not self._family.counts_successes:
            return super()._response(arrays, name)
        return split_binomial(arrays["endog"], arrays["n_trials"], name, whole=True)


def model_class(name: str) -> type[OwnFamily]:
    """Return the model of a family by its name in `MODELS`; users find it in `hetglm.models`."""
    family, spec = registry.family_class(name), registry.model_spec(name)
    refused = _refused(family, spec)
    attributes = {
        "__doc__": _documentation(family, spec, refused),
        "__module__": "hetglm.models",
        "_family": family,
        "_links": (getattr(links, spec.link), getattr(links, spec.link_dispersion)),
        "refused": refused,
        "_row_arrays": tuple(array for array in ROW_ARRAYS if array not in refused),
    }
    return type(name, (OwnFamily,), attributes)


def _refused(family: type[Family], spec: ModelSpec) -> dict[str, str]:
    """Return the row arrays that a model does not take, with what to use instead."""
    none = {} if family.takes_trials else {"n_trials": "its response has no trials"}
    return {**none, **spec.refused}


def _documentation(family: type[Family], spec: ModelSpec, refused: dict[str, str]) -> str:
    """Return the docstring of a model."""
    arrays = {
        name: f"None\n    Not taken; {refused[name]}."
        if name in refused
        else text.format(symbol=family.symbol)
        for name, text in TAKEN.items()
    }
    return DOCUMENTATION.format(
        title=spec.title,
        text=spec.text.strip(),
        endog=spec.endog,
        references=spec.references.strip(),
        example=spec.example.strip(),
        shape="(n,) or (n, 2)" if family.counts_successes else "(n,)",
        symbol=family.symbol,
        link=spec.link,
        link_dispersion=spec.link_dispersion,
        **arrays,
    )
