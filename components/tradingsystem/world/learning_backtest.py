"""Two versions over recorded days, side by side, with costs as they were met and twice as dear. It trains and publishes nothing; the look is a trial all
the same and enters the ledger, since who looks often enough finds something."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tradingsystem.bundles.bundle import Bundle
from tradingsystem.bundles.evidence import Block
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.interfaces import Scores
from tradingsystem.learning.backtest import Rules, blocks, entries, result
from tradingsystem.learning.deflated import deflated_sharpe, sharpe
from tradingsystem.learning.ledger import FILE_NAME, Ledger, Trial, ratios_of, tried_on
from tradingsystem.learning.rows import join, net
from tradingsystem.process.serving import score_graph
from tradingsystem.world.learning_days import Days
from tradingsystem.world.learning_job import STRESS, Traded, kind_of_all


@dataclass(frozen=True, slots=True)
class Backtested:
    """Versions ``first`` and ``second`` on the same rows; ``deflated`` is how sure it is that the second's gain is more than luck among ``trials``."""

    first: int
    second: int
    rows: int
    traded: tuple[Traded, ...]
    blocks: tuple[Block, ...]
    trials: int
    deflated: float


def backtest(data: Days, first: Bundle, second: Bundle, rules: Rules, store: Path) -> Backtested:
    """Judge both on every row of every day. Raises ``InvalidInput`` when there is none."""
    rows = join([day.rows for day in data.days])
    if not len(rows):
        raise InvalidInput("no closed row of a candidate in any of the recorded sessions: there is nothing to test on")
    rule = LabelRule()
    answers: list[Scores] = [score_graph(bundle.int8_graph, rows.features) for bundle in (first, second)]
    bought = [
        entries(rows, said.members, said.blend, bundle.manifest, rules) for said, bundle in zip(answers, (first, second), strict=True)
    ]
    made = blocks([day.session for day in data.days], rows, net(rows, rule.fee_basis_points), bought[0], bought[1])
    gains = np.array([block.challenger_return_basis_points - block.champion_return_basis_points for block in made])
    ledger = Ledger(store / FILE_NAME)
    names = tuple(day.name for day in data.days)
    versions = f"{first.manifest.training_data_sha256}/{second.manifest.training_data_sha256}"
    identity = f"backtest/{hashlib.sha256(f'{versions}/{rows.digest()}/{rules}'.encode()).hexdigest()[:32]}"
    ratio = sharpe(gains)
    others = [trial for trial in tried_on(ledger.trials(), names) if trial.identity != identity]
    ledger.append(
        [
            Trial(
                identity=identity,
                job="backtest",
                data_kind=kind_of_all(data.days),
                sessions=names,
                outcome="Looked",
                blocks=len(made),
                sharpe=ratio,
            )
        ]
    )
    traded = tuple(
        Traded(times=times, champion=result(rows, returns, bought[0]), challenger=result(rows, returns, bought[1]))
        for times in STRESS
        for returns in (net(rows, rule.fee_basis_points, times),)
    )
    deflated = deflated_sharpe(gains, len(others) + 1, np.append(ratios_of(others), ratio))
    return Backtested(first.manifest.version, second.manifest.version, len(rows), traded, made, len(others) + 1, deflated)
