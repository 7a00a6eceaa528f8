"""Which changes of a running system the API server takes: rules over the old resource and the new one, which only an API server can hold.

Limits are lowered at any time and raised only while ``status.trading.state`` says Halted; the mode stays while positions are open, the
message server unless halted and flat. Status is not
visible from a rule on the spec, so each stands at the root, and each is a rule of its own, so that a refusal names its field. What status says can
be 30 s old and is the operator's word: these rules stop a person's mistake, the risk gate stops the loss.
"""

import msgspec

from tradingsystem.spec.risk import Risk
from tradingsystem.spec.section import wire_name

_TRADING = "has(self.status) && has(self.status.trading)"
_HALTED = f"({_TRADING} && self.status.trading.state == 'Halted')"
_NO_POSITIONS = f"(!({_TRADING}) || self.status.trading.positions == 0)"
_NO_TARGET = 0  # dailyTarget 0 means none, which is the loosest of all


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A rule over a change. ``cel`` sees the whole resource as ``self`` and, before the change, as ``oldSelf``; ``field`` is a dotted path."""

    name: str
    field: str
    cel: str
    reason: str
    remedy: str


def _limit_transition(field: msgspec.structs.FieldInfo) -> Transition:
    wire = field.encode_name

    def limit(side: str) -> str:
        written = f"{side}.spec.risk.{wire}"
        value = f"(has({written}) ? {written} : {field.default})"
        if wire != wire_name("daily_target"):
            return value
        return f"({value} == {_NO_TARGET} ? {2**53} : {value})"

    return Transition(
        name=f"{wire}-raised-only-when-halted",
        field=f"spec.risk.{wire}",
        cel=f"{limit('self')} <= {limit('oldSelf')} || {_HALTED}",
        reason="a limit is raised only while status.trading.state says Halted; lowering it needs nothing",
        remedy="set spec.trading.state to Halted, wait until status says so, and raise it then",
    )


TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        name="mode-kept-while-positions-are-open",
        field="spec.mode",
        cel=f"self.spec.mode == oldSelf.spec.mode || {_NO_POSITIONS}",
        reason="the mode cannot change while positions are open, since nobody would own them afterwards",
        remedy="set spec.trading.state to Reducing, wait until status.trading.positions is 0, and change it then",
    ),
    Transition(
        name="message-server-kept-unless-halted-and-flat",
        field="spec.messaging.type",
        cel=f"self.spec.messaging.type == oldSelf.spec.messaging.type || ({_HALTED} && {_NO_POSITIONS})",
        reason="another message server is another journal, in which nothing of this one stands: no intent, no latch",
        remedy="set spec.trading.state to Halted, wait until status says so with no position open, and change it then",
    ),
    *(_limit_transition(field) for field in msgspec.structs.fields(Risk)),
)
