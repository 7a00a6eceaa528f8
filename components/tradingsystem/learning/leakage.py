"""Whether the labels can have leaked into the features: predictions of the next half hour that are too good are a mistake, not a discovery.

Two tests, each by name. ``single-feature rank``: one feature alone orders outcomes better than anything known of markets does. ``whole-model rank``: the
fitted model does. Both are areas under the ROC curve on rows; the bounds lie far above the best that is ever shown in this system (0.61 for bundle 1 on a
market with a declared edge, about 0.7 for the oracle that knows it) and far below what a copied label gives. A weaker leak than that passes here; it is
what shadow and canary would find, since it does not exist live.

Rows overlap: a symbol gives one every twenty seconds and each looks half an hour ahead. So outcomes are counted by episode, a symbol's half hour, and with
few of them no test says anything: one lively hour makes any feature of that hour look as if it knew.
"""

from __future__ import annotations

import numpy as np

from tradingsystem.domain.rows import F32, F64
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.features.catalogue import NAMES
from tradingsystem.learning.measures import area_under_curve
from tradingsystem.learning.rows import LearningRows

SINGLE_FEATURE_MAX = 0.80
WHOLE_MODEL_MAX = 0.85
EPISODES_MIN = 20
"""Episodes with the rarer outcome below which an area says nothing."""
EPISODE_SECONDS = 1_800


def episodes(rows: LearningRows) -> tuple[int, int]:
    """In how many episodes (a symbol's half hour) the target was reached, and in how many it was not."""
    place = np.column_stack([rows.symbol, rows.at_ns // (EPISODE_SECONDS * NS_PER_SECOND)])
    reached, missed = (len(np.unique(place[chosen], axis=0)) for chosen in (rows.labels > 0, rows.labels <= 0))
    return reached, missed


def leaks_of_features(rows: LearningRows) -> tuple[str, ...]:
    """Each feature that alone orders the labels too well, with the test's name and figures; none while there are too few episodes to say."""
    if min(episodes(rows)) < EPISODES_MIN:
        return ()
    found = []
    for at, name in enumerate(NAMES):
        area = area_under_curve(rows.features[:, at].astype(np.float64), rows.labels)
        if max(area, 1.0 - area) > SINGLE_FEATURE_MAX:
            said = f"{name} alone orders the outcomes with area {max(area, 1.0 - area):.3f}, above {SINGLE_FEATURE_MAX}"
            found.append(f"single-feature rank: {said}")
    return tuple(found)


def leak_of_model(p: F64, rows: LearningRows) -> tuple[str, ...]:
    """Whether a model's p F64[n] orders later rows too well; nothing while there are too few episodes to say."""
    if min(episodes(rows)) < EPISODES_MIN:
        return ()
    area = area_under_curve(p, rows.labels)
    if area <= WHOLE_MODEL_MAX:
        return ()
    return (f"whole-model rank: the model orders later outcomes with area {area:.3f}, above {WHOLE_MODEL_MAX}",)


def constant_features(features: F32) -> tuple[str, ...]:
    """Names of the features that never change in F32[n, 50]; nothing can be learned from them."""
    if not len(features):
        return ()
    return tuple(name for name, same in zip(NAMES, (features == features[0]).all(axis=0), strict=True) if same)
