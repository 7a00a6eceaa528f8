"""Why a model version does not serve, by name: what the journal, the metrics, the status and the CLI say is one of these words."""

from __future__ import annotations

import enum

from tradingsystem.domain.errors import TradingSystemError


class Refusal(enum.Enum):
    """Each has one meaning; the text beside it says the figures."""

    CORRUPT = "Corrupt"  # bytes are missing, cut off or not what the manifest's digests say, or no runtime reads the graph
    UNSIGNED = "Unsigned"  # no signature, or by a key that is not trusted for this kind of data
    WRONG_SCHEMA = "WrongSchema"  # trained on other features than this build computes, or a manifest that this build does not know
    TOO_LARGE = "TooLarge"  # a file above its bound
    NOT_FINITE = "NotFinite"  # answers that are no probabilities
    WRONG_ANSWERS = "WrongAnswers"  # the golden vectors do not come out as they were signed
    TOO_SLOW = "TooSlow"  # one inference takes longer than the deadline
    NOT_LOADED = "NotLoaded"  # the model server or the filter could not load it, for a reason of its own
    ENGINE_MISMATCH = "EngineMismatch"  # TensorRT's engine was built from another graph, for another GPU or by another version
    NOT_BETTER = "NotBetter"  # the evidence does not show that it is better net of costs
    NOT_ENOUGH_DATA = "NotEnoughData"  # the evidence is too short to say
    OUTDATED = "Outdated"  # its evidence compares it with another version than the one that serves
    SHADOW_DISAGREES = "ShadowDisagrees"  # beside the serving version it answers too late, not at all, or something else altogether
    LIVE_LOSS = "LiveLoss"  # its live predictions are worse than those of the version it is compared with
    DRIFT = "Drift"  # what it reads live is no longer what it was trained on
    EXPIRED = "Expired"  # past the date until which it may open positions
    VERSION_NOT_FOUND = "VersionNotFound"  # there is no such version in the store
    COLLECTED = "Collected"  # it was there and was removed to make room
    ROLLED_BACK = "RolledBack"  # it served or was tried before and was taken back; only a person may promote it again
    SUPERSEDED = "Superseded"  # a newer candidate came before its trial was over, or a person or a pin decided otherwise


class ModelRefused(TradingSystemError):
    """One version may not serve; what served before still does."""

    def __init__(self, version: int, refusal: Refusal, detail: str) -> None:
        super().__init__(f"version {version}: {refusal.value}: {detail}")
        self.version = version
        self.refusal = refusal
        self.detail = detail
