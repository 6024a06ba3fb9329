"""vpp-edge control | uplink | request | status | simulate | enrol | renew | check-config, and the studies."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sites.edge import site_commands
from sites.edge.config import KEY_HEX, SITE_ID, ConfigError, EdgeConfig, load_config
from sites.mqtt.address import OPEN_ALLOWED, BrokerAddress, BrokerAddressError
from sites.observability.logs import JsonLines, speak_as
from sites.output_files import OutputError

if TYPE_CHECKING:
    from sites.edge.drivers.base import PacedDriver

BROKER_VARIABLE = "VPP_EDGE_BROKER_URL"
STUDIES = {
    "replay": ("replay_command", "what this controller would have decided on recordings that you bring"),
    "islanding-suite": ("suite", "the controller against losses, dips and nuisances, with its targets"),
    "realtime-report": ("realtime_report", "wake latency and step time of the control loop on this machine"),
    "respond": ("respond", "a product's response over a recorded frequency"),
}
"""Command -> (module of ``studies`` with ``add_arguments(parser)`` and ``run(options, environment)``, help)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a setting that is not accepted ends it with status 2 and says which."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(given[0] if given else "").parse_args(given)
    logging.basicConfig(
        level=os.environ.get("VPP_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    if os.environ.get("VPP_LOG_FORMAT") == "json":
        speak_as(given[0])
        logging.getLogger().handlers[0].setFormatter(JsonLines())
    try:
        return int(options.run(options, os.environ))
    except (ConfigError, BrokerAddressError, OutputError) as error:
        sys.stderr.write(f"vpp-edge {options.command}: {error}\n")
        return 2


def _parser(wanted: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vpp-edge", description="What runs at a site.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, text in (
        ("control", _control, "the millisecond process of one site"),
        ("uplink", _uplink, "the MQTT process of one site"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
        command.set_defaults(run=run)
    for name, text in (
        ("enrol", "make the site's key and ask the platform for its certificate"),
        ("renew", "ask for a new certificate now; the uplink does so by itself"),
    ):
        command = commands.add_parser(name, help=text)
        # Imported only for these: the others start without certificates.
        if wanted == name:
            from sites.edge import enrol_command

            if name == "enrol":
                enrol_command.add_enrol_arguments(command)
            else:
                command.add_argument("--config", type=Path, required=True, metavar="FILE")
            command.set_defaults(run=enrol_command.run_enrol if name == "enrol" else enrol_command.run_renew)
    site_commands.add_commands(commands)
    check = commands.add_parser("check-config", help="read a site's file and say what is wrong with it")
    check.add_argument("config", type=Path, metavar="FILE")
    check.set_defaults(run=_check_config)
    simulate = commands.add_parser("simulate", help="many simulated sites in one process, in real time")
    simulate.add_argument("--sites", type=_whole(1, 9_999), required=True, metavar="N")
    simulate.add_argument("--seed", type=_whole(0, 2**31 - 1), default=1, metavar="S")
    simulate.add_argument(
        "--broker", metavar="URL", help=f"mqtt://user:password@host:port; better in {BROKER_VARIABLE}, unseen by others"
    )
    simulate.add_argument(
        "--identities", type=Path, metavar="DIR", help="each site's certificate, in DIR/SITE; waited for"
    )
    simulate.add_argument("--host-id", default="vpp", metavar="ID")
    simulate.add_argument("--platform-key", action="append", default=[], metavar="HEX", help="public key, repeatable")
    simulate.add_argument("--runtime-dir", type=Path, metavar="DIR")
    simulate.add_argument("--interval-s", type=_whole(1, 3600), default=60, metavar="S")
    simulate.add_argument("--keep-stored-days", type=_whole(0, 366), default=0, metavar="D")
    simulate.add_argument("--manifest", type=Path, metavar="FILE", help="write the fleet's enrolment manifest")
    simulate.set_defaults(run=_simulate)
    for name, (module, text) in STUDIES.items():
        command = commands.add_parser(name, help=text)
        # Imported only for the one that is asked for: most need the compiled kernels.
        if wanted == name:
            study = importlib.import_module(f"sites.edge.studies.{module}")
            study.add_arguments(command)
            command.set_defaults(run=study.run)
    return parser


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"is {text!r}, accepted: {low} to {high}")
        return int(text)

    return read


def _check_config(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from sites.edge.drivers.simulated import site_parameters

    config = load_config(options.config, environment)
    site_parameters(config)
    sys.stdout.write(f"{options.config}: site {config.site_id} with {', '.join(a.name for a in config.assets)}: good\n")
    return 0


def _control(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    # Imported here: only this command needs the compiled kernels.
    from sites.edge.control.process import run_control
    from sites.edge.control.realtime import AlreadyRunning
    from sites.edge.drivers.inputs import InputCard
    from sites.edge.link.shared_block import ControlSide, SharedBlock, SharedBlockError

    config = load_config(options.config, environment)
    spool_dir = _make_runtime(config)
    try:
        exchange = ControlSide(SharedBlock(config.block_path), spool_dir)
        return run_control(
            # The driver is chosen here, because the control package knows no plant.
            make_driver=lambda: _driver_of(config),
            exchange=exchange,
            lock_path=config.runtime_dir / f"{config.site_id}.control.lock",
            interval_s=config.interval_s,
            before=exchange.last_image(),
            metered=exchange.last_registers(),
            inputs=InputCard(config.inputs),
        )
    except (AlreadyRunning, SharedBlockError) as error:
        sys.stderr.write(f"vpp-edge control: {error.name}: {error}\n")
        return 3


def _uplink(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from sites.edge.control.realtime import AlreadyRunning, single_instance
    from sites.edge.link.event_folder import EventFolder
    from sites.edge.link.identity import IdentityError, IdentityFolder
    from sites.edge.link.process import run_site_uplink
    from sites.edge.link.shared_block import SharedBlock, SharedBlockError, UplinkSide
    from sites.edge.link.uplink_settings import UplinkSettings
    from sites.observability.endpoint import Address, ObservabilityAddressError

    config = load_config(options.config, environment)
    spool_dir = _make_runtime(config)
    identity = IdentityFolder(config.identity_dir, config.site_id)
    settings = UplinkSettings(
        broker=config.broker,
        host_id=config.host_id,
        platform_keys=config.platform_keys,
        key_authority=config.key_authority,
        interval_s=config.interval_s,
        outbox_path=config.runtime_dir / f"{config.site_id}.outbox.sqlite3",
        outbox_max_bytes=config.outbox_max_bytes,
        outbox_reserve_bytes=config.outbox_reserve_bytes,
        keep_stored_s=config.keep_stored_s,
    )
    try:
        with single_instance(config.runtime_dir / f"{config.site_id}.uplink.lock"):
            run_site_uplink(
                config.profile,
                UplinkSide(SharedBlock(config.block_path), spool_dir),
                settings,
                identity=identity if config.broker.asks_certificate else None,
                observe=Address.parse(environment.get("VPP_OBSERVE", "127.0.0.1:0")),
                events=EventFolder(
                    config.runtime_dir / f"{config.site_id}.events",
                    [config.recorded_site],
                    max_bytes=config.events_max_bytes,
                ),
            )
    except ObservabilityAddressError as error:
        raise ConfigError(f"VPP_OBSERVE: {error}") from None
    except (AlreadyRunning, SharedBlockError, IdentityError) as error:
        sys.stderr.write(f"vpp-edge uplink: {error.name}: {error}\n")
        return 3
    return 0


def _simulate(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from sites.edge.studies.manifest import write_manifest

    if options.manifest is not None:
        write_manifest(sites=options.sites, seed=options.seed, path=options.manifest)
        # Whoever enrols the fleet need not wait for the simulation.
        sys.stdout.write(json.dumps({"event": "manifest", "path": str(options.manifest)}) + "\n")
        sys.stdout.flush()
    url = options.broker or environment.get(BROKER_VARIABLE, "")
    if not url:
        if options.manifest is not None:
            return 0
        raise ConfigError(f"no broker, accepted: mqtt://user:password@host:port in {BROKER_VARIABLE} or --broker")
    keys = options.platform_key
    if not keys or not all(KEY_HEX.match(key) for key in keys):
        raise ConfigError(f"--platform-key is {keys or 'missing'}, accepted: 64 hexadecimal digits, lower case")
    if not SITE_ID.match(options.host_id):
        raise ConfigError(f"--host-id is {options.host_id!r}, accepted: 1 to 64 of A-Z a-z 0-9 _ -")
    if options.runtime_dir is None:
        raise ConfigError("--runtime-dir is missing, accepted: a folder for the outbox")
    if 3600 % options.interval_s:
        raise ConfigError(f"--interval-s is {options.interval_s}, accepted: a divisor of 3600")
    broker = BrokerAddress.parse(url)
    broker.require_closed(open_allowed=environment.get(OPEN_ALLOWED, "") == "1")
    if broker.asks_certificate and options.identities is None:
        raise ConfigError("--identities is missing, accepted: a folder of certificates, or cert=FILE in the URL")
    # Imported here: writing a manifest needs no compiled kernels.
    from sites.edge.link.identity import IdentityError
    from sites.edge.studies.simulate import Simulation, run_simulation

    simulation = Simulation(
        sites=options.sites,
        seed=options.seed,
        broker=broker,
        host_id=options.host_id,
        platform_keys=tuple(bytes.fromhex(key) for key in keys),
        runtime_dir=options.runtime_dir,
        interval_s=options.interval_s,
        identities=options.identities,
        keep_stored_s=options.keep_stored_days * 86_400.0,
    )
    try:
        return run_simulation(simulation)
    except IdentityError as error:
        sys.stderr.write(f"vpp-edge simulate: {error.name}: {error}\n")
        return 3


def _make_runtime(config: EdgeConfig) -> Path:
    spool_dir = config.runtime_dir / f"{config.site_id}.spool"
    spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return spool_dir


def _driver_of(config: EdgeConfig) -> PacedDriver:
    from sites.edge.drivers.simulated import start_site

    return start_site(config)


if __name__ == "__main__":
    sys.exit(main())
