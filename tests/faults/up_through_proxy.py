"""`tradingsystem up` with one difference: execution reaches its broker through another port, where a test has put a proxy.

    python -m tests.faults.up_through_proxy PORT FILE --until-end

The product has no such switch, so this builds the run as the command does and changes the one assignment.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path

from tradingsystem.process.assignment import Assignment
from tradingsystem.process.build import build_digest
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.state import state_folder
from tradingsystem.process.supervisor import Supervisor
from tradingsystem.spec import Placement, Workload, load_file, plan


@dataclasses.dataclass(frozen=True, slots=True)
class Detour(LocalRun):
    """A run whose execution goes by the proxy."""

    proxy_port: int = 0

    def assignment(self, workload: Workload) -> Assignment:
        made = LocalRun.assignment(self, workload)
        return dataclasses.replace(made, venues=f"http://127.0.0.1:{self.proxy_port}") if workload.name == "execution" else made


def tell(happening: Happening) -> None:
    sys.stdout.write(f"{happening.workload:<10} {happening.what:<10} {happening.detail}".rstrip() + "\n")
    sys.stdout.flush()


async def up(run: Detour) -> int:
    supervisor = Supervisor(run, tell, until_end=True)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(2, supervisor.stop)
    announcing = asyncio.create_task(announce(supervisor))
    try:
        return await supervisor.run()
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)


async def announce(supervisor: Supervisor) -> None:
    await supervisor.everybody_ready.wait()
    tell(Happening("all", "ready", "all ready"))


def main() -> int:
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    planned = plan(load_file(file), Placement.PROCESSES, build=build_digest())
    state = state_folder(planned.system)
    with state.lock():
        return asyncio.run(up(Detour(plan=planned, state=state, folder=state.new_run(), proxy_port=port)))


if __name__ == "__main__":
    sys.exit(main())
