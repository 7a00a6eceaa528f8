"""Every reason a condition can have, in one table: what it says and what to do. The page docs/operations/conditions.md is written from it.

The order is the order of weight: when several hold, the first gives the condition its reason and all of them stand in the message.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradingsystem.spec.status import ConditionType


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: what it says and what to do."""

    name: str
    condition: ConditionType
    means: str
    remedy: str


REASONS: tuple[Reason, ...] = (
    Reason(
        "InvalidSpec",
        ConditionType.DEGRADED,
        "The spec has mistakes that the API server's schema could not see; what ran before runs on as it was.",
        "Each mistake stands in the message with its field and remedy: correct the resource. `tradingsystem validate` says the "
        "same before.",
    ),
    Reason(
        "UnknownVersion",
        ConditionType.DEGRADED,
        "`spec.version` names a release this operator does not know; what ran before runs on.",
        "Name one of the releases in the message, or leave the field empty.",
    ),
    Reason(
        "NameConflict",
        ConditionType.DEGRADED,
        "An object of a name we need belongs to somebody else; it is left alone.",
        "Delete or rename that object, or give the system another name.",
    ),
    Reason(
        "MissingSecret",
        ConditionType.DEGRADED,
        "A Secret that the spec refers to, or one of its keys, is not there.",
        "Create it in the system's namespace with the keys in the message.",
    ),
    Reason(
        "MissingSymbols",
        ConditionType.DEGRADED,
        "The ConfigMap with the list of symbols (universe.configMapRef), or its key, is not there; what runs stays as it was, live settings go on.",
        "Create it in the system's namespace as the message says; it is noticed by itself.",
    ),
    Reason(
        "InvalidSymbols",
        ConditionType.DEGRADED,
        "The list of symbols in the ConfigMap has mistakes; what runs stays as it was, live settings go on.",
        "Each mistake stands in the message with its line: correct the ConfigMap; it is noticed by itself.",
    ),
    Reason(
        "MissingVolumeClaim",
        ConditionType.DEGRADED,
        "The volume claim with the recorded days (simulation.dataClaimName) is not there, is being deleted or has lost its volume; what runs stays as it was.",
        "Make the claim in the system's namespace; it is noticed by itself.",
    ),
    Reason(
        "NoRecordedDay",
        ConditionType.DEGRADED,
        "The volume has no recorded day, or not that of simulation.startDate, in the folder that simulation.data names; the simulator tries again by itself.",
        "The message says which days are there; its path /var/lib/tradingsystem/recorded is the volume. Put the day there, or name another.",
    ),
    Reason(
        "DamagedRecording",
        ConditionType.DEGRADED,
        "A file of the recorded day cannot be read as what its name says; the simulator tries again by itself.",
        "File and line stand in the message. `tradingsystem data import FOLDER` reads every day to its end and names all that is damaged.",
    ),
    Reason(
        "UnreadableRecording",
        ConditionType.DEGRADED,
        "The simulator may not read the recorded day; it tries again by itself.",
        "Pods run as user and group 10001, and a person's volume keeps its modes: let others read (chmod -R o+rX), or give the group.",
    ),
    Reason(
        "Forbidden",
        ConditionType.DEGRADED,
        "The operator may not do what it has to.",
        "Compare its roles with the chart's; a quota or an admission policy may also say no: its words stand in the message.",
    ),
    Reason(
        "Rejected",
        ConditionType.DEGRADED,
        "The API server refused an object.",
        "Its words stand in the message; an admission policy or an older Kubernetes is the usual cause.",
    ),
    Reason(
        "NoStorageClass",
        ConditionType.DEGRADED,
        "A volume claim names no storage class and the cluster has no default.",
        "Mark a StorageClass as the default, or make a fitting PersistentVolume.",
    ),
    Reason(
        "GpuNotFree",
        ConditionType.DEGRADED,
        "No node has a free GPU of the kind that is asked for.",
        "Free one, add a node, or ask for another kind in spec.inference.gpu.",
    ),
    Reason(
        "NoMatchingNode",
        ConditionType.DEGRADED,
        "No node carries the labels, or bears the taints, that are asked for.",
        "Compare spec.components and spec.inference.gpu with `kubectl get nodes --show-labels`.",
    ),
    Reason(
        "InsufficientResources",
        ConditionType.DEGRADED,
        "No node has enough free cpu or memory.",
        "Lower spec.components.<service>.resources, or add a node.",
    ),
    Reason(
        "VolumeNotBound",
        ConditionType.DEGRADED,
        "A pod waits for its volume.",
        "Look at the claim: kubectl describe pvc.",
    ),
    Reason(
        "ImagePullFailed",
        ConditionType.DEGRADED,
        "The image cannot be had.",
        "Check the image's name, the registry and its credentials.",
    ),
    Reason(
        "PodCannotStart",
        ConditionType.DEGRADED,
        "The container cannot be made.",
        "The kubelet's words stand in the message.",
    ),
    Reason(
        "OutOfMemory",
        ConditionType.DEGRADED,
        "A container was killed at its memory limit.",
        "Raise spec.components.<service>.resources.limits.memory.",
    ),
    Reason(
        "CrashLoop",
        ConditionType.DEGRADED,
        "A container ends again and again.",
        "Read its last words: kubectl logs POD --previous.",
    ),
    Reason(
        "NatsUnreachable",
        ConditionType.DEGRADED,
        "The message server's pod is ready, or a person runs it, and the operator cannot speak with it. Where services reach it, trading goes on; "
        "live settings and deletion wait.",
        "The message says why: nobody there, or a certificate or password that is refused. Check NetworkPolicies from the operator's namespace to it.",
    ),
    Reason(
        "NoTritonImage",
        ConditionType.WARNING,
        "spec.inference.runtime asks for Triton and the operator was told of no image for it; models run in the filter's process instead.",
        "Give the operator the image that the message names (chart: release.tritonImage, release.tritonCpuImage), or set InProcess.",
    ),
    Reason(
        "NoEngineImage",
        ConditionType.WARNING,
        "Triton has a GPU and the operator was told of no image that builds TensorRT engines for it; Triton runs onnxruntime.",
        "Give the operator the image (chart: release.componentsGpuImage).",
    ),
    Reason(
        "EngineBuildFailed",
        ConditionType.WARNING,
        "TensorRT's engine of a version could not be built; onnxruntime runs it, in Triton or in the filter's process, and trading goes on.",
        "The message has the last line of the job. When its cause is gone, delete the job: it is made again.",
    ),
    Reason(
        "StorageSizeChanged",
        ConditionType.WARNING,
        "spec.storage asks for another size than a volume has.",
        "Resize the claim by hand, then delete the StatefulSet with --cascade=orphan: it is made anew around the running pod.",
    ),
    Reason(
        "UpdateAvailable",
        ConditionType.WARNING,
        "This operator would render the system differently than it runs; nothing is changed by itself.",
        "Set spec.version to the operator's release when it suits.",
    ),
    Reason(
        "Advice",
        ConditionType.WARNING,
        "Numbers in the spec that cannot add up, with the arithmetic.",
        "Decide; it runs as it is.",
    ),
    Reason(
        "NoWarnings",
        ConditionType.WARNING,
        "Nothing to warn of.",
        "",
    ),
    Reason(
        "PositionsOpen",
        ConditionType.PROGRESSING,
        "A change that restarts pods waits, because positions are open in session.",
        "Wait for the close, or set spec.trading.state to Reducing.",
    ),
    Reason(
        "WaitsForOthers",
        ConditionType.PROGRESSING,
        "A workload waits for those that start before it.",
        "Look at the ones it waits for.",
    ),
    Reason(
        "RollingOut",
        ConditionType.PROGRESSING,
        "Pods are starting or being changed.",
        "",
    ),
    Reason(
        "Deleting",
        ConditionType.PROGRESSING,
        "The resource is being deleted: halted first, then flat or covered.",
        "See docs/operations/stuck-deletion.md if it does not end.",
    ),
    Reason(
        "LiveSettingsPending",
        ConditionType.PROGRESSING,
        "Limits or wishes of the spec are not in force yet: execution has not acknowledged them.",
        "Nothing, unless it lasts: then look at execution and the message server.",
    ),
    Reason(
        "Settled",
        ConditionType.PROGRESSING,
        "Everything is as the spec says.",
        "",
    ),
    Reason(
        "Running",
        ConditionType.READY,
        "Every workload is ready and the spec is in force.",
        "",
    ),
    Reason(
        "Starting",
        ConditionType.READY,
        "Some workloads are not ready yet and nothing is known to be wrong.",
        "",
    ),
    Reason(
        "NotReady",
        ConditionType.READY,
        "Some workloads are not ready although everything was applied.",
        "The message names them; look at their pods.",
    ),
    Reason(
        "AsExpected",
        ConditionType.DEGRADED,
        "Nothing is known to be wrong.",
        "",
    ),
    Reason(
        "PausedByAnnotation",
        ConditionType.PAUSED,
        "tradingsystem.dev/pause is set: nothing is written but status. Trading goes on.",
        "Remove the annotation.",
    ),
    Reason(
        "NotPaused",
        ConditionType.PAUSED,
        "The operator looks after the system.",
        "",
    ),
    Reason(
        "Serving",
        ConditionType.MODEL_SERVING,
        "A bundle serves; its version stands in status.models.",
        "",
    ),
    Reason(
        "BuildingEngine",
        ConditionType.MODEL_SERVING,
        "A bundle serves, and a job compiles an engine for the GPU: only while the market is closed, and where no second GPU is free on Triton's own, which "
        "is away meanwhile.",
        "Nothing. It ends in minutes, at the latest half an hour before the open.",
    ),
    Reason(
        "ServingInProcess",
        ConditionType.MODEL_SERVING,
        "A bundle serves; Triton, which should run it, is not ready, so the filter runs it in its own process meanwhile.",
        "Nothing, if Triton is starting. Else see why its pod is not ready: Degraded names a missing GPU, node or image.",
    ),
    Reason(
        "NoModel",
        ConditionType.MODEL_SERVING,
        "No bundle that verifies is there.",
        "Look at the log of models; `tradingsystem doctor` checks bundles.",
    ),
    Reason(
        "NotHeard",
        ConditionType.MODEL_SERVING,
        "The service that would know says nothing.",
        "Also of DataFresh and TradingEnabled.",
    ),
    Reason(
        "Fresh",
        ConditionType.DATA_FRESH,
        "Every source delivers, or the market is closed.",
        "",
    ),
    Reason(
        "Stale",
        ConditionType.DATA_FRESH,
        "A source does not deliver; nothing is opened on old data.",
        "The message names the source and why.",
    ),
    Reason(
        "Active",
        ConditionType.TRADING_ENABLED,
        "It opens and closes.",
        "",
    ),
    Reason(
        "Reducing",
        ConditionType.TRADING_ENABLED,
        "It only closes.",
        "spec.trading.state, a latch in status.trading.latches, or what was not heard for long (docs/reference/latches.md), which ends by itself.",
    ),
    Reason(
        "Halted",
        ConditionType.TRADING_ENABLED,
        "Nothing opens; protection stays.",
        "spec.trading.state, a latch in status.trading.latches, cleared by annotation, or what was not heard for long, which ends by itself.",
    ),
)

ORDER = {reason.name: number for number, reason in enumerate(REASONS)}
