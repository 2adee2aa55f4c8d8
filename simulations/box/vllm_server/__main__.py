"""`python -m simulations.box.vllm_server`: one server process, from its cold start to its end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from simulations.box.vllm_server.options import ServerOptions, parse

TERMINATED = 128 + signal.SIGTERM


async def serve(options: ServerOptions) -> None:
    """Open the port and serve until SIGTERM or SIGINT has been obeyed."""
    # These take most of the time of starting; the cold start goes on meanwhile.
    from aiohttp import web  # noqa: PLC0415

    from simulations.box.vllm_server.application import Application  # noqa: PLC0415
    from simulations.box.vllm_server.live_engine import LiveEngine  # noqa: PLC0415
    from simulations.box.vllm_server.page import MetricsPage  # noqa: PLC0415
    from simulations.box.vllm_server.shutdown import Shutdown  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await _load(options, told)
    page = MetricsPage(options)
    engine = LiveEngine(
        options.profile,
        speed=options.speed,
        flush_interval_s=options.flush_interval_s,
        page=page,
    )
    application = Application(options, engine, page)
    runner = web.AppRunner(
        application.build(), access_log=None, handler_cancellation=True, shutdown_timeout=0.0
    )
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port, shutdown_timeout=0.0)
    await site.start()
    print(f"serving {options.served_model_names[0]} on {options.host}:{options.port}", flush=True)
    await told.wait()
    await Shutdown(application, site).run()


async def _load(options: ServerOptions, told: asyncio.Event) -> None:
    """Wait out the cold start, counted from the start of the process; SIGTERM ends it all."""
    remaining_s = options.cold_start_s - _age_s()
    if remaining_s > 0:
        print(f"loading for {options.cold_start_s:.1f} s", flush=True)
        try:
            await asyncio.wait_for(told.wait(), remaining_s)
        except TimeoutError:
            return
    if told.is_set():
        sys.stdout.flush()
        os._exit(TERMINATED)


def _age_s() -> float:
    """For how long this process has been there, by the kernel's clock; 0 where it does not say."""
    try:
        with open("/proc/self/stat", encoding="ascii") as stat:  # noqa: PTH123  no pathlib: it costs time
            ticks = int(stat.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime", encoding="ascii") as uptime:  # noqa: PTH123
            up_s = float(uptime.read().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, up_s - ticks / os.sysconf("SC_CLK_TCK"))


def main() -> None:
    """Run the server; the exit code is 0 also where requests were lost, as vLLM's is."""
    options = parse(sys.argv[1:])
    try:
        asyncio.run(serve(options))
    except OSError as error:
        print(f"vllm_server: {options.host}:{options.port}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    sys.stdout.flush()
    # At once, with whatever connections clients still hold.
    os._exit(0)


if __name__ == "__main__":
    main()
