"""Named refusals of the wire: each says what was wrong, where, and what is accepted."""

from __future__ import annotations

from typing import ClassVar, Final


class WireError(Exception):
    """Something on the wire that is refused; ``name`` is what counters and pages show."""

    name: ClassVar[str] = "wire_error"


class TopicInvalid(WireError):
    """A topic outside the contract, or a site in a group that is not its own."""

    name = "topic_invalid"


class DeviceUnknown(WireError):
    """A device that the site does not have, or one too many."""

    name = "device_unknown"


class TooManySites(WireError):
    """A new site beyond the number that one session holds in memory."""

    name = "too_many_sites"


class PayloadTooLarge(WireError):
    """More bytes than accepted; refused before parsing."""

    name = "payload_too_large"


class PayloadMalformed(WireError):
    """Bytes that are no Sparkplug B payload, or one that lacks what its message type must carry."""

    name = "payload_malformed"


class BirthMissing(WireError):
    """A message that needs a birth before it."""

    name = "birth_missing"


class VersionUnsupported(WireError):
    """A birth that announces a wire version outside the supported window."""

    name = "version_unsupported"


class MetricUnknown(WireError):
    """A metric that nobody declared."""

    name = "metric_unknown"


class AliasUnknown(WireError):
    """An alias without a birth that gives it a name."""

    name = "alias_unknown"


class MetricTypeMismatch(WireError):
    """A value of another type than declared."""

    name = "metric_type_mismatch"


class UnitMismatch(WireError):
    """A gateway's metric in another unit than its rule says, or than the contract can take."""

    name = "unit_mismatch"


class ValueOutOfRange(WireError):
    """A value outside its declared range; not-a-number is outside every range."""

    name = "value_out_of_range"


class TimestampInFuture(WireError):
    """A timestamp further ahead of this end's clock than accepted."""

    name = "timestamp_in_future"


class TemplateUnsupported(WireError):
    """A metric of type Template; no metric of the contract has it."""

    name = "template_unsupported"


class DatasetUnsupported(WireError):
    """A metric of type DataSet; no metric of the contract has it."""

    name = "dataset_unsupported"


class SamplesMalformed(WireError):
    """Packed samples that do not unpack to the announced columns."""

    name = "samples_malformed"


class SignatureInvalid(WireError):
    """An envelope that is not signed by a known key over exactly these bytes."""

    name = "signature_invalid"


class KeyWithdrawn(WireError):
    """An envelope signed by a key that the platform has withdrawn."""

    name = "key_withdrawn"


ERRORS: Final[tuple[type[WireError], ...]] = (
    TopicInvalid,
    DeviceUnknown,
    TooManySites,
    PayloadTooLarge,
    PayloadMalformed,
    BirthMissing,
    VersionUnsupported,
    MetricUnknown,
    AliasUnknown,
    MetricTypeMismatch,
    UnitMismatch,
    ValueOutOfRange,
    TimestampInFuture,
    TemplateUnsupported,
    DatasetUnsupported,
    SamplesMalformed,
    SignatureInvalid,
    KeyWithdrawn,
)
