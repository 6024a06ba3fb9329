"""The meter book: live state, readings, numbered intervals, high-rate records, waveforms, refusals."""

from __future__ import annotations

from django.db import models

from sites.core.readings import Quality, TimeQuality
from sites.metering.vectors import VectorField
from sites.registry.models import Asset, Site

QUALITY_CHOICES = [(quality.value, quality.value) for quality in Quality]
TIME_QUALITY_CHOICES = [(quality.value, quality.value) for quality in TimeQuality]


class LiveState(models.Model):
    """The latest values of one site. Whether it is alive is the age of ``measured_at``, never a flag."""

    site = models.OneToOneField(Site, on_delete=models.CASCADE, primary_key=True, related_name="live")
    measured_at = models.DateTimeField()
    received_at = models.DateTimeField()
    frequency_hz = models.FloatField(null=True)
    voltage_pu = models.FloatField(null=True)
    mode = models.CharField(max_length=20, default="")
    pcc_kw = models.FloatField(null=True)
    battery_kw = models.FloatField(null=True)
    pv_kw = models.FloatField(null=True)
    genset_kw = models.FloatField(null=True)
    load_kw = models.FloatField(null=True)
    soc_ratio = models.FloatField(null=True)
    temperature_c = models.FloatField(null=True)
    """Battery cells [degree C]."""
    genset_running = models.BooleanField(null=True)
    samples_late = models.BigIntegerField(null=True)
    """Late or overrun control ticks so far."""
    service_kw = models.FloatField(null=True)
    """Delivered to the grid on top of the declared baseline, positive into the bus [kW]."""
    required_kw = models.FloatField(null=True)
    """Due by the armed curve at the site's own frequency [kW]."""
    discharge_kw = models.FloatField(null=True)
    """Headroom for service [kW, >= 0]."""
    charge_kw = models.FloatField(null=True)
    usable_energy_kwh = models.FloatField(null=True)
    absorbable_energy_kwh = models.FloatField(null=True)
    saturates_in_s = models.FloatField(null=True)
    """Until the energy ends at the present power [s]."""


class SiteStanding(models.Model):
    """What a site stands at: alarms, contacts, tiers, last decision, counters. Told and written when it changes."""

    site = models.OneToOneField(Site, on_delete=models.CASCADE, primary_key=True, related_name="standing")
    measured_at = models.DateTimeField()
    received_at = models.DateTimeField()
    alarms = models.CharField(max_length=200, blank=True)
    """Latched ones by name, comma separated: only the key at the site clears them."""
    warnings = models.CharField(max_length=200, blank=True)
    lockout_cause = models.CharField(max_length=200, blank=True)
    """Mode and event that locked it out, such as ``islanded: bus_fault``."""
    inputs = models.CharField(max_length=200, blank=True)
    """Protection contacts that are tripped, turned or closed, by name."""
    tiers_closed = models.BigIntegerField(null=True)
    """Tiers of load that are fed, of three."""
    limited_by = models.CharField(max_length=10, blank=True)
    """What holds the response back."""
    decided_at = models.DateTimeField(null=True)
    """Last decision to leave the grid."""
    decision_cause = models.CharField(max_length=200, blank=True)
    decision_path = models.CharField(max_length=200, blank=True)
    requests_refused = models.BigIntegerField(null=True)
    ticks_overrun = models.BigIntegerField(null=True)
    samples_caught_up = models.BigIntegerField(null=True)
    """Samples run behind their time."""
    outbox_state = models.CharField(max_length=12, blank=True)
    """Whether what waits at the site is safe: ``ok``, or why it is not."""
    outbox_rows = models.BigIntegerField(null=True)
    """Numbered rows that have waited at the site for more than a minute."""
    outbox_oldest_at = models.DateTimeField(null=True)
    outbox_used_ratio = models.FloatField(null=True)
    """Of the site's bound on records and waveforms."""
    outbox_dropped_records = models.BigIntegerField(null=True)
    outbox_dropped_waveforms = models.BigIntegerField(null=True)
    """Whose samples the site has given up so far."""


class ReadingShape(models.Model):
    """Which metrics stand together in the rows of readings: one for each kind of message that sites send."""

    names = models.CharField(max_length=1024, unique=True)
    """Names of the metrics in the order of the values, comma separated."""


class Reading(models.Model):
    """The measured values of a site, or of one of its assets, at one instant.

    One row for a message and not for a metric: a fleet writes a tenth of the rows. On PostgreSQL the table is
    partitioned by the day of ``measured_at`` (``partitions.py``), so its key holds that column and it has no
    constraints to other tables, which would cost more than the rows.
    """

    pk = models.CompositePrimaryKey("site_id", "measured_at", "asset", "shape_id")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    measured_at = models.DateTimeField()
    asset = models.CharField(max_length=32, blank=True)
    """Asset's name at its site; empty for the site itself."""
    shape = models.ForeignKey(
        ReadingShape, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    received_at = models.DateTimeField()
    values = VectorField()
    """In the order of the shape's names; not-a-number where the site knew no value."""


class RollUp(models.Model):
    """Readings of one site or asset over a span, metric by metric in the order of the shape's names."""

    pk = models.CompositePrimaryKey("site_id", "starts_at", "asset", "shape_id")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    starts_at = models.DateTimeField()
    asset = models.CharField(max_length=32, blank=True)
    shape = models.ForeignKey(
        ReadingShape, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    revision = models.PositiveIntegerField(default=0)
    """How often late data changed the figures."""
    counts = VectorField()
    """Values that were known."""
    totals = VectorField()
    """Their sum: divided by the count it is the mean."""
    lows = VectorField()
    highs = VectorField()
    """Least and greatest; not-a-number where nothing was known."""

    class Meta:
        abstract = True


class MinuteRollUp(RollUp):
    """One minute; partitioned by day on PostgreSQL."""


class QuarterRollUp(RollUp):
    """15 minutes."""


class RollUpDue(models.Model):
    """Readings of a minute came for sites of a partition since its roll-ups were made."""

    pk = models.CompositePrimaryKey("partition", "minute_at")
    partition = models.PositiveSmallIntegerField()
    minute_at = models.DateTimeField()
    noted_at = models.DateTimeField()


class MeterInterval(models.Model):
    """Energy of one asset in one numbered interval, with the registers at its end. Exact integers."""

    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="intervals")
    number = models.PositiveBigIntegerField()
    """Counts from 1 at its asset without a hole; a hole is missing metering."""
    revision = models.PositiveIntegerField(default=0)
    """0 as first received; the same number with other content is kept as the next one."""
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    into_bus_uwh = models.BigIntegerField()
    """Energy into the site's bus [uWh, >= 0]: import at the PCC, discharge, generation."""
    from_bus_uwh = models.BigIntegerField()
    """Energy out of the site's bus [uWh, >= 0]: export at the PCC, charge, consumption."""
    service_into_uwh = models.BigIntegerField(default=0)
    """Battery only: energy delivered for armed assignments above their baseline, while the site was on
    the grid [uWh, >= 0]. Apart from the other way, for a regulation service swings around zero."""
    service_from_uwh = models.BigIntegerField(default=0)
    """Battery only: energy taken for armed assignments below their baseline [uWh, >= 0]."""
    services = models.JSONField(default=list)
    """Whose service that was: [dispatch id, into, from] [uWh] each. Part of the row, so that a revision
    replaces both; may hold less than the two sums where a site does not tell, never more."""
    fuel_ul = models.BigIntegerField(default=0)
    """Genset only: fuel burnt [ul]."""
    register_into_uwh = models.BigIntegerField()
    register_from_uwh = models.BigIntegerField()
    """Cumulative registers at the end of the interval [uWh]."""
    quality = models.CharField(max_length=12, choices=QUALITY_CHOICES, default=Quality.GOOD)
    time_quality = models.CharField(max_length=16, choices=TIME_QUALITY_CHOICES, default=TimeQuality.UNKNOWN)
    """How far its instants may be trusted; its energy is right whatever the clock said."""
    is_historical = models.BooleanField(default=False)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["asset", "number", "revision"], name="metering_one_interval_per_number"),
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="metering_ends_after_start"
            ),
            models.CheckConstraint(
                condition=models.Q(into_bus_uwh__gte=0, from_bus_uwh__gte=0), name="metering_energy_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(service_into_uwh__gte=0, service_from_uwh__gte=0),
                name="metering_service_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["starts_at", "asset"], name="metering_interval_start"),
            # Few of very many: what came again with other content is looked for in closed periods.
            models.Index(fields=["starts_at"], condition=models.Q(revision__gt=0), name="metering_interval_revised"),
        ]


class RegisterBase(models.Model):
    """Registers of an asset behind somebody else's gateway, at the end of the last minute that was closed."""

    asset = models.OneToOneField(Asset, on_delete=models.CASCADE, primary_key=True, related_name="+")
    at = models.DateTimeField()
    into_uwh = models.BigIntegerField(null=True)
    from_uwh = models.BigIntegerField(null=True)
    """None after the rules named another register: from ``at`` on the first that is read counts."""
    source = models.CharField(max_length=64)
    """SHA-256 of the rules that made them."""


class StreamMark(models.Model):
    """How far a site's numbered stream is stored without a hole; told back to the site."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")
    stream = models.CharField(max_length=32)
    """Asset name for intervals, ``record`` for high-rate records, ``waveform`` for waveforms."""
    stored_through = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "stream"], name="metering_one_mark_per_stream")]


class HighRateRecord(models.Model):
    """A chunk of a site's own record at 100 Hz or more: proof of response."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="records")
    number = models.PositiveBigIntegerField()
    revision = models.PositiveIntegerField(default=0)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    rate_hz = models.FloatField()
    columns = models.JSONField()
    """Names of the columns, in order."""
    samples = models.BinaryField()
    """zlib over little-endian float32, row by row."""
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "number", "revision"], name="metering_one_record_per_number")
        ]
        indexes = [models.Index(fields=["starts_at", "site"], name="metering_record_start")]


class WaveformRecord(models.Model):
    """The kept waveform of one islanding event."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="waveforms")
    number = models.PositiveBigIntegerField()
    revision = models.PositiveIntegerField(default=0)
    starts_at = models.DateTimeField()
    trigger_at = models.DateTimeField()
    rate_hz = models.FloatField()
    cause = models.CharField(max_length=40)
    columns = models.JSONField()
    samples = models.BinaryField()
    """zlib over little-endian float32, row by row."""
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "number", "revision"], name="metering_one_waveform_per_number")
        ]
        indexes = [models.Index(fields=["starts_at", "site"], name="metering_waveform_start")]


class RefusedNumber(models.Model):
    """A number of a stream whose content can never be accepted: the stream goes on past it, the audit names it."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="+")
    stream = models.CharField(max_length=32)
    number = models.PositiveBigIntegerField()
    error = models.CharField(max_length=40)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "stream", "number"], name="metering_one_refusal_per_number")
        ]


class UnmappedMetric(models.Model):
    """A metric of somebody else's gateway that no rule maps: seen, shown to people, and used for nothing."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="unmapped")
    device = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=200)
    type = models.CharField(max_length=20)
    unit = models.CharField(max_length=32, blank=True)
    value = models.CharField(max_length=200, blank=True)
    """The last one, as text."""
    count = models.PositiveBigIntegerField(default=0)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "device", "name"], name="metering_one_unmapped_per_name")
        ]


class RefusedMessage(models.Model):
    """A message that the ingest refused, kept for inspection (the newest ones)."""

    received_at = models.DateTimeField()
    topic = models.CharField(max_length=256)
    error = models.CharField(max_length=40)
    detail = models.CharField(max_length=400)
    size_bytes = models.PositiveIntegerField()
    payload = models.BinaryField()
    """The first bytes of the payload, cut at 4 KiB."""

    class Meta:
        indexes = [models.Index(fields=["received_at"], name="metering_refused_at")]


class RefusalCount(models.Model):
    """How many messages were refused, revised or dropped for a reason, ever."""

    error = models.CharField(max_length=40, primary_key=True)
    count = models.PositiveBigIntegerField(default=0)


class Quarantine(models.Model):
    """A site whose messages are dropped unread because it overdrew one of its budgets."""

    site_id = models.CharField(max_length=64, blank=True)
    """As it stands in its topics, enrolled or not; empty for messages that name no site."""
    reason = models.CharField(max_length=20)
    """The overdrawn budget: messages, bytes, births or refusals."""
    started_at = models.DateTimeField()
    last_at = models.DateTimeField()
    """When messages were last dropped."""
    dropped = models.PositiveBigIntegerField(default=0)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)
    """``quiet`` or who released it."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site_id"], condition=models.Q(ended_at=None), name="metering_one_open_quarantine"
            )
        ]
        indexes = [models.Index(fields=["started_at"], name="metering_quarantine_at")]


class PartitionLease(models.Model):
    """Which ingest worker hears and writes one of the partitions; taken and kept by conditional UPDATE."""

    partition = models.PositiveSmallIntegerField(primary_key=True)
    holder = models.CharField(max_length=64, blank=True)
    is_own = models.BooleanField(default=False)
    """The holder was started for it; else it stands in for a worker that went away."""
    token = models.PositiveBigIntegerField(default=0)
    """Rises with every change of holder."""
    expires_at = models.DateTimeField()
    wanted_at = models.DateTimeField(null=True)
    """When a worker of its own last asked its stand-in for it."""


class HostLease(models.Model):
    """Which process speaks for the host on the wire; taken and kept by conditional UPDATE."""

    name = models.CharField(max_length=64, primary_key=True)
    """The host's id on the wire."""
    holder = models.CharField(max_length=64, blank=True)
    token = models.PositiveBigIntegerField(default=0)
    """Rises with every change of holder: who has an older one lost the lease."""
    expires_at = models.DateTimeField()
