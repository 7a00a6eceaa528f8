"""Where things are inside a pod: one page, so that what mounts a file and what reads it cannot disagree."""

from __future__ import annotations

from pathlib import PurePosixPath

USER_ID = 10_001
"""User and group that every image of ours runs as."""

SLICE_FOLDER = PurePosixPath("/etc/tradingsystem/slice")
PASSWORD_FOLDER = PurePosixPath("/etc/tradingsystem/nats")
PASSWORD_FILE = PASSWORD_FOLDER / "password"
AUTHORITIES_FILE = PurePosixPath("/etc/tradingsystem/nats-authorities/ca.crt")
SECRETS_FOLDER = PurePosixPath("/etc/tradingsystem/secrets")
STATE_FOLDER = PurePosixPath("/var/lib/tradingsystem/state")
RUN_FOLDER = PurePosixPath("/var/lib/tradingsystem/run")
FILTER_SLICE_FOLDER = PurePosixPath("/etc/tradingsystem/filter-slice")
RECORDED_FOLDER = PurePosixPath("/var/lib/tradingsystem/recorded")
"""Days that the simulator plays: a person's volume, which nothing of ours writes to. RECORDINGS_FOLDER is what the recorder makes."""
RECORDINGS_FOLDER = PurePosixPath("/var/lib/tradingsystem/recordings")
MODELS_FOLDER = PurePosixPath("/var/lib/tradingsystem/models")
MODEL_KEYS_FOLDER = PurePosixPath("/etc/tradingsystem/model-keys")
MODEL_KEYS_FILE = MODEL_KEYS_FOLDER / "publicKey"
TEMPORARY_FOLDER = PurePosixPath("/tmp")
SHARED_MEMORY_FOLDER = PurePosixPath("/dev/shm")
TRITON_KEY_FILE = PurePosixPath("/etc/tradingsystem/triton/key")
TRITON_REPOSITORY = PurePosixPath("/var/lib/triton/repository")
TRITON_BACKENDS = PurePosixPath("/opt/tritonserver/backends")
CAPTURE_FILE = RUN_FOLDER / "wire.jsonl"

NATS_FOLDER = PurePosixPath("/etc/nats")
NATS_DATA_FOLDER = PurePosixPath("/var/lib/nats")

CONFIGURATION_MODE = 0o444
SECRET_MODE = 0o440
"""Owner and group may read: the pod's group is the one that mounted files belong to."""
