"""Names of log events, counted things and quantities, so that every process says the same word."""

from __future__ import annotations

from typing import Final

ASSIGNMENT_SENT: Final = "assignment.sent"
ASSIGNMENT_ACKNOWLEDGED: Final = "assignment.acknowledged"
ASSIGNMENT_REFUSED: Final = "assignment.refused"
COMMAND_SENT: Final = "command.sent"
COMMAND_TAKEN: Final = "command.taken"
COMMAND_ANSWERED: Final = "command.answered"
MESSAGE_REFUSED: Final = "message.refused"
REBIRTH_REQUESTED: Final = "rebirth.requested"
INGEST_BATCH: Final = "ingest.batch"
LINK_UP: Final = "link.up"
LINK_DOWN: Final = "link.down"
SAMPLES_DROPPED: Final = "samples.dropped"
COMMANDS_DROPPED: Final = "commands.dropped"
BLOCK_OVERRUN: Final = "block.overrun"
NUMBERING_ADOPTED: Final = "numbering.adopted"
EVENT_DECIDED: Final = "openadr.event_decided"
SETTLED: Final = "market.settled"
CARBON_BOOKED: Final = "carbon.booked"
WATCHED_AT: Final = "process.watched_at"
ENROLMENT_REFUSED: Final = "enrolment.refused"
CLONE_ALARM: Final = "enrolment.clone_alarm"
BROKER_FILES_WRITTEN: Final = "broker.files_written"
CERTIFICATE_RENEWED: Final = "certificate.renewed"
