"""What a Triton server says of its GPU and its TensorRT, by a model that is loaded to be asked and then unloaded."""

from __future__ import annotations

import msgspec
import numpy as np
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tradingsystem.adapters.triton_calls import AWAY, LOAD_SECONDS, TritonSettings, asked, refuse_key
from tradingsystem.bundles.engine_plan import Target
from tradingsystem.bundles.triton_config import REPORTER, as_json, reporter_configuration
from tradingsystem.bundles.triton_files import as_sent, reporter_files
from tradingsystem.domain.errors import TryAgain

ANSWER_SECONDS = 30.0  # a driver that nobody has used for a while wakes up


async def target_of(client: InferenceServerClient, settings: TritonSettings) -> Target:
    """What an engine must have been built for; empty where the server cannot say it. Raises ``TryAgain`` while it is away, ``NotAuthorized``."""
    headers, files = settings.headers(), as_sent({1: reporter_files()}, settings.address)
    try:
        await client.load_model(
            REPORTER, headers=headers, config=as_json(reporter_configuration()), files=files, client_timeout=LOAD_SECONDS
        )
    except InferenceServerException as error:
        refuse_key(error)
        if str(error.status()) in AWAY:
            raise TryAgain(f"triton: {error.message()}") from error
        return Target()  # a server without a python backend
    question = InferInput("ask", [1], "FP32")
    question.set_data_from_numpy(np.zeros(1, np.float32))
    try:
        answer = (await asked(client.infer(REPORTER, [question], client_timeout=ANSWER_SECONDS))).as_numpy("target")
        return Target() if answer is None else msgspec.json.decode(answer[0], type=Target)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TryAgain(f"triton: what it says of its GPU cannot be read: {error}") from error
    finally:
        await asked(client.unload_model(REPORTER, headers=headers, client_timeout=LOAD_SECONDS))
