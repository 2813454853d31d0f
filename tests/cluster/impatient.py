"""Snakemake that asks for the state of its jobs twice a second.

The executor's plugin waits ten seconds longer each time nothing has ended, without a setting to
say otherwise.
"""

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep(self: RemoteExecutor) -> None:
    await asyncio.sleep(0.5)


RemoteExecutor.sleep = sleep
main()
