"""Every subject on the bus and in the journal, in one place. ``system`` is the TradingSystem's name, ``service`` a workload's.

Subjects under ``journal.`` are kept by the journal's stream, in one sequence; ``tape.`` is kept in memory for a while so that a restarted filter can
catch up; all others are heard or lost.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of one system."""

    system: str

    @property
    def tape(self) -> str:
        """Batches, by ingestion."""
        return f"tape.{self.system}"

    @property
    def frames(self) -> str:
        """Lists of ``Frame``, by ingestion, for the recorder."""
        return f"frame.{self.system}"

    @property
    def clock(self) -> str:
        """Clock ticks, by the simulator."""
        return f"clock.{self.system}"

    @property
    def marks(self) -> str:
        """Lists of ``Mark``, by the filter: 1 Hz, and each change of a held symbol."""
        return f"mark.{self.system}"

    @property
    def outcomes(self) -> str:
        """Lists of ``Outcome``, by the filter, for models: what became of predictions."""
        return f"outcome.{self.system}"

    @property
    def features(self) -> str:
        """``FeatureSample``, by the filter, for models: rows that were read live, thinned, once a minute."""
        return f"feature.{self.system}"

    @property
    def candidates(self) -> str:
        """Symbols that deserve quotes and trades, by the filter, for ingestion's tiers."""
        return f"want.{self.system}.filter"

    @property
    def held(self) -> str:
        """Symbols with a position or an open order, by execution, for ingestion and the filter."""
        return f"want.{self.system}.execution"

    def beat(self, service: str) -> str:
        """Heartbeats of a service."""
        return f"beat.{self.system}.{service}"

    def state(self, service: str) -> str:
        """A service's status, for the CLI, the monitor and the operator."""
        return f"state.{self.system}.{service}"

    @property
    def resource(self) -> str:
        """The operator's word that the API server still holds the resource, for execution; the payload means nothing."""
        return f"state.{self.system}.resource"

    def echo(self, service: str) -> str:
        """A service's own heartbeat, echoed through the server, to notice a deaf connection."""
        return f"echo.{self.system}.{service}"

    @property
    def command(self) -> str:
        """Requests to execution: ``Command`` answered by ``CommandAnswer``."""
        return f"command.{self.system}.execution"

    @property
    def command_models(self) -> str:
        """Requests to models: ``ModelCommand`` answered by ``CommandAnswer``."""
        return f"command.{self.system}.models"

    @property
    def journal(self) -> str:
        """Everything the journal keeps."""
        return f"journal.{self.system}.>"

    @property
    def journal_cut(self) -> str:
        """Cuts, by the filter."""
        return f"journal.{self.system}.cut"

    @property
    def journal_signal(self) -> str:
        """Signals, by the filter."""
        return f"journal.{self.system}.signal"

    @property
    def journal_inbox(self) -> str:
        """Execution's inbox, by execution."""
        return f"journal.{self.system}.inbox"

    @property
    def journal_checkpoint(self) -> str:
        """Execution's state after all inbox entries before it, by execution: a restart folds from the newest one."""
        return f"journal.{self.system}.checkpoint"

    def journal_intent(self, client_order_id: str) -> str:
        """One subject per intent: creating it twice is refused by the server."""
        return f"journal.{self.system}.intent.{client_order_id}"

    @property
    def journal_intents(self) -> str:
        """All intents."""
        return f"journal.{self.system}.intent.*"

    @property
    def journal_latch(self) -> str:
        """Latches set and cleared, by execution."""
        return f"journal.{self.system}.latch"

    @property
    def journal_split(self) -> str:
        """Positions that are counted in shares after a split, by execution."""
        return f"journal.{self.system}.split"

    @property
    def journal_spec(self) -> str:
        """Live settings, by whoever applies specs (CLI, operator)."""
        return f"journal.{self.system}.spec"

    @property
    def journal_fence(self) -> str:
        """The owner's record that intents are fenced with, by execution."""
        return f"journal.{self.system}.fence"

    @property
    def journal_seal(self) -> str:
        """Seals over everything the journal keeps, by the recorder."""
        return f"journal.{self.system}.seal"

    @property
    def journal_model(self) -> str:
        """Which version serves and which one stands beside it, by models: what the tape assigns."""
        return f"journal.{self.system}.model"

    @property
    def journal_promotion(self) -> str:
        """Every step of a version's way to serving and back, with its reason, by models."""
        return f"journal.{self.system}.promotion"

    @property
    def journal_weights(self) -> str:
        """Weights of the ensemble that were learned live, and their reversal, by models."""
        return f"journal.{self.system}.weights"


def journal_stream(system: str) -> str:
    """Name of the stream that keeps the journal."""
    return f"JOURNAL_{system}"


def tape_stream(system: str) -> str:
    """Name of the memory stream that holds the newest batches."""
    return f"TAPE_{system}"


def models_bucket(system: str) -> str:
    """Name of the object store that versions of the models travel by."""
    return f"models_{system}"


def engines_bucket(system: str) -> str:
    """Name of the object store of their engines: one of its own, since a token of a subject cannot tell an engine from a version to who may put one."""
    return f"engines_{system}"


def object_stream(bucket: str) -> str:
    """Name of an object store's stream, as NATS names it."""
    return f"OBJ_{bucket}"


def object_chunks(bucket: str, identifier: str) -> str:
    """The subject of one object's chunks."""
    return f"$O.{bucket}.C.{identifier}"


def object_meta(bucket: str, name: str) -> str:
    """The subject of what is said about an object; ``name`` as a token."""
    return f"$O.{bucket}.M.{name}"


def symbol_token(symbol: str) -> str:
    """A ticker as one subject token: dots and blanks would split it. ``BRK.B`` becomes ``BRK=2EB``; reversible, since ``=`` is escaped too."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_") else f"={ord(char):02X}" for char in symbol)
