"""Tell an operator when we take part and when not (EiOpt); `run_openadr` sends it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from markets import operator_opts
from markets.core.events import OptType
from markets.openadr.operators import ConfigurationInvalid, Ven3Config, operator_named
from markets.operator_opts import REASONS, OperatorOpt, OptRefused


class Command(BaseCommand):
    """`manage.py openadr_opt create|cancel|list`."""

    help = "Tell an operator of OpenADR 2.0b a window in which we do not take part (or do), end one, or list them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the three verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="kept at once, sent by run_openadr")
        create.add_argument("--operator", required=True, help="its name in the table, `operator` for the short form")
        create.add_argument("--start", required=True, help="ISO 8601 with offset")
        create.add_argument("--end", required=True, help="ISO 8601 with offset")
        create.add_argument("--type", choices=[opt.value for opt in OptType], default=OptType.OPT_OUT.value)
        create.add_argument("--reason", choices=REASONS, default="notParticipating")
        create.add_argument("--market-context", default="", help="one program; none: all of the operator's")
        create.add_argument("--resource", default="", help="one resource, such as a site; none: all that we have")
        verbs.add_parser("cancel", help="end one").add_argument("opt_id")
        verbs.add_parser("list", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; tells each opt as JSON."""
        try:
            if options["verb"] == "create":
                self._tell(self._created(options))
            elif options["verb"] == "cancel":
                self._tell(operator_opts.cancel_opt(opt_id=options["opt_id"], at=timezone.now()))
            else:
                for opt in OperatorOpt.objects.all():
                    self._tell(opt)
        except (OptRefused, ConfigurationInvalid) as error:
            raise CommandError(str(error)) from None

    def _created(self, options: dict[str, Any]) -> OperatorOpt:
        if isinstance(operator_named(options["operator"]), Ven3Config):
            raise OptRefused(f"operator {options['operator']} speaks OpenADR 3, which has no opt schedules")
        return operator_opts.keep_opt(
            operator=options["operator"],
            starts_at=_instant("--start", options["start"]),
            ends_at=_instant("--end", options["end"]),
            at=timezone.now(),
            opt_type=OptType(options["type"]),
            reason=options["reason"],
            market_context=options["market_context"],
            resource=options["resource"],
        )

    def _tell(self, opt: OperatorOpt) -> None:
        told = {
            "opt_id": opt.opt_id,
            "operator": opt.operator,
            "type": opt.opt_type,
            "reason": opt.reason,
            "market_context": opt.market_context,
            "resource": opt.resource,
            "starts_at": opt.starts_at.isoformat(),
            "ends_at": opt.ends_at.isoformat(),
            "state": opt.state,
            "answer": opt.answer,
        }
        self.stdout.write(json.dumps(told))


def _instant(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise OptRefused(f"{name} is {text!r}, accepted: ISO 8601 with offset, such as 2030-01-08T17:00:00+00:00")
    return found
