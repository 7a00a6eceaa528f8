"""Who may say and hear what: one row per service, from which the NATS users are generated.

Nobody but execution can publish an intent or clear a latch, nobody but models a promotion, nobody but the simulator the clock. ``person`` is the CLI's
and the operator's user: it may command and apply specs, never trade. Versions of models are put by learning jobs, and removed by models to make room,
and by a person; whoever loads them may read. Engines are put by the job that compiles them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradingsystem.messages.subjects import (
    Subjects,
    engines_bucket,
    journal_stream,
    models_bucket,
    object_chunks,
    object_meta,
    object_stream,
    tape_stream,
)

SERVICES = ("ingestion", "filter", "execution", "recorder", "monitor", "watcher", "models", "learning", "simulator")
PERSON = "person"
ENGINE = "engine"
"""The job that compiles a version for a GPU: it reads versions, puts engines, and hears and says nothing else."""
READS_ENGINES = frozenset({"models", ENGINE, PERSON})
READS_MODELS = frozenset({"filter", "models", "learning", PERSON})
"""Who gets versions of models from the object store."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects one NATS user may publish to and subscribe to (patterns)."""

    user: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions(system: str) -> tuple[Permissions, ...]:
    """The users of one system, in a stable order."""
    subject = Subjects(system)
    speaks: dict[str, tuple[str, ...]] = {
        "ingestion": (subject.tape, subject.frames),
        "filter": (subject.marks, subject.outcomes, subject.features, subject.candidates, subject.journal_cut, subject.journal_signal),
        "execution": (
            subject.held,
            subject.journal_inbox,
            subject.journal_checkpoint,
            subject.journal_intents,
            subject.journal_latch,
            subject.journal_split,
            subject.journal_fence,
            f"$KV.lease_{system}.writer",
        ),
        "recorder": (subject.journal_seal,),
        "monitor": (),
        "watcher": (),
        "models": (subject.journal_model, subject.journal_promotion, subject.journal_weights, *_making_room(system)),
        "learning": (object_chunks(models_bucket(system), "*"), object_meta(models_bucket(system), "*")),
        "simulator": (subject.clock,),
        PERSON: (
            subject.command,
            subject.command_models,
            subject.journal_spec,
            subject.resource,
            *_making_room(system),
        ),
    }
    return (*(_user(subject, name, own) for name, own in speaks.items()), _engine(subject))


def _engine(subject: Subjects) -> Permissions:
    system, inbox = subject.system, f"_INBOX_{ENGINE}.>"
    reads = _reading(object_stream(models_bucket(system)), object_stream(engines_bucket(system)))
    return Permissions(
        user=ENGINE, publish=(*_engines(system), *reads, subject.echo(ENGINE), inbox), subscribe=(subject.echo(ENGINE), inbox)
    )


def _engines(system: str) -> tuple[str, ...]:
    """What putting engines needs, and removing one that another takes the place of."""
    bucket = engines_bucket(system)
    return object_chunks(bucket, "*"), *_removing(bucket)


def _user(subject: Subjects, name: str, own: tuple[str, ...]) -> Permissions:
    inbox = f"_INBOX_{name}.>"
    publish = (*own, subject.beat(name), subject.state(name), subject.echo(name), *_store(subject.system, name), inbox)
    if name in {"execution", "models"}:
        publish = (*publish, f"_INBOX_{PERSON}.>")  # answers to commands
    heard = tuple(f"{prefix}.{subject.system}.>" for prefix in ("beat", "state", "want", "command", "journal"))
    subscribe = (subject.tape, subject.clock, subject.marks, *heard, subject.echo(name), inbox)
    if name == "recorder":
        subscribe = (*subscribe, subject.frames)
    if name == "models":
        subscribe = (*subscribe, subject.outcomes, subject.features)
    return Permissions(user=name, publish=publish, subscribe=subscribe)


def _removing(bucket: str) -> tuple[str, ...]:
    """What removing objects needs: the word that one is gone, and its bytes purged."""
    return object_meta(bucket, "*"), f"$JS.API.STREAM.PURGE.{object_stream(bucket)}"


def _making_room(system: str) -> tuple[str, ...]:
    """What removing versions of models and their engines needs."""
    return (*_removing(models_bucket(system)), *_removing(engines_bucket(system)))


def _store(system: str, user: str) -> tuple[str, ...]:
    """What reading the kept streams needs, and making them when they are missing. Never more: who may purge, delete or change a stream may unmake a
    latch or an intent. Writing to them is the subjects above, and ``$KV`` for the cache, whose values may vanish."""
    streams = [journal_stream(system), tape_stream(system), f"KV_cache_{system}", f"KV_lease_{system}"]
    streams += [object_stream(models_bucket(system))] if user in READS_MODELS else []
    streams += [object_stream(engines_bucket(system))] if user in READS_ENGINES else []
    return (*_reading(*streams), f"$KV.cache_{system}.*")


def _reading(*streams: str) -> tuple[str, ...]:
    verbs = (
        "STREAM.INFO.{}",
        "STREAM.CREATE.{}",
        "STREAM.MSG.GET.{}",
        "CONSUMER.CREATE.{}",
        "CONSUMER.MSG.NEXT.{}.*",
        "CONSUMER.DELETE.{}.*",
    )
    return tuple(f"$JS.API.{verb.format(stream)}" for stream in streams for verb in verbs)
