"""Models of one family each, that is not statsmodels'."""

from __future__ import annotations

from typing import Any, ClassVar

from hetglm.design import keywords
from hetglm.families import base
from hetglm.models.base import LocationScaleModel


class OwnFamily(LocationScaleModel):
    """Model of a law of its own: not used directly, its subclasses name the family and the link."""

    _law: ClassVar[type[base.Family]]
    _default_link: ClassVar[Any]

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
        missing: str = "none",
        hasconst: bool | None = None,
        **unknown: Any,
    ) -> None:
        keywords.refuse(type(self), unknown)
        super().__init__(
            endog,
            exog,
            exog_dispersion,
            family=self._law(),
            link=self._default_link() if link is None else link,
            link_dispersion=link_dispersion,
            offset=offset,
            exposure=exposure,
            offset_dispersion=offset_dispersion,
            n_trials=n_trials,
            var_weights=var_weights,
            freq_weights=freq_weights,
            missing=missing,
            hasconst=hasconst,
        )

    def _design_keys(self) -> list[str]:
        return [*super()._design_keys(), "link"]
