"""What the sites' API answers with, for its description: the presenters make the values."""

from __future__ import annotations

from rest_framework import serializers


class SiteRowSerializer(serializers.Serializer[object]):
    """A site's latest values; powers positive into the site's bus, null where nothing was told."""

    site_id = serializers.CharField()
    name = serializers.CharField()
    mode = serializers.CharField(allow_blank=True)
    age_s = serializers.FloatField(allow_null=True, help_text="age of the values [s]; null: never reported")
    measured_at = serializers.DateTimeField(allow_null=True)
    frequency_hz = serializers.FloatField(allow_null=True)
    voltage_pu = serializers.FloatField(allow_null=True)
    pcc_kw = serializers.FloatField(allow_null=True)
    battery_kw = serializers.FloatField(allow_null=True)
    pv_kw = serializers.FloatField(allow_null=True)
    genset_kw = serializers.FloatField(allow_null=True)
    load_kw = serializers.FloatField(allow_null=True)
    soc_ratio = serializers.FloatField(allow_null=True)
    service_kw = serializers.FloatField(allow_null=True)
    required_kw = serializers.FloatField(allow_null=True)
    discharge_kw = serializers.FloatField(allow_null=True)
    charge_kw = serializers.FloatField(allow_null=True)
    usable_energy_kwh = serializers.FloatField(allow_null=True)
    absorbable_energy_kwh = serializers.FloatField(allow_null=True)


class MeterSerializer(serializers.Serializer[object]):
    """What is known of an asset's meter."""

    meter_class = serializers.CharField(allow_blank=True)
    meter_calibrated_on = serializers.DateField(allow_null=True)
    meter_uncertainty_ratio = serializers.FloatField(allow_null=True)


class AssetSerializer(MeterSerializer):
    """An asset's nameplate."""

    name = serializers.CharField()
    kind = serializers.CharField()
    rated_kw = serializers.FloatField()
    capacity_kwh = serializers.FloatField()


class SiteSerializer(SiteRowSerializer):
    """A site with place, nameplates and latest values."""

    time_zone = serializers.CharField()
    grid_zone = serializers.CharField()
    nominal_hz = serializers.FloatField()
    assets = AssetSerializer(many=True)


class ServedSerializer(serializers.Serializer[object]):
    """Service for one dispatch within an interval [uWh]."""

    dispatch_id = serializers.CharField()
    into_uwh = serializers.IntegerField()
    from_uwh = serializers.IntegerField()


class IntervalSerializer(MeterSerializer):
    """One numbered meter interval; energies are exact integers."""

    asset = serializers.CharField()
    number = serializers.IntegerField()
    revision = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    into_bus_uwh = serializers.IntegerField()
    from_bus_uwh = serializers.IntegerField()
    service_into_uwh = serializers.IntegerField()
    service_from_uwh = serializers.IntegerField()
    services = ServedSerializer(many=True)
    fuel_ul = serializers.IntegerField(allow_null=True)
    quality = serializers.CharField(allow_blank=True)
    time_quality = serializers.CharField(allow_blank=True)
    received_at = serializers.DateTimeField()
    is_historical = serializers.BooleanField()


class SeriesSerializer(serializers.Serializer[object]):
    """One metric on the grid; the figures that were asked for, null where nothing was measured."""

    metric = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    mean = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)
    low = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)
    high = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)
    count = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)


class HistorySerializer(serializers.Serializer[object]):
    """Metrics of one site over a period, on one grid of equal steps."""

    site_id = serializers.CharField()
    starts_at = serializers.DateTimeField()
    resolution = serializers.CharField()
    step_s = serializers.IntegerField()
    steps = serializers.IntegerField()
    series = SeriesSerializer(many=True)


class QuarantineSerializer(serializers.Serializer[object]):
    """A site that overdrew a budget and is not heard."""

    id = serializers.IntegerField()
    site_id = serializers.CharField(allow_blank=True)
    overdrawn = serializers.CharField()
    started_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    dropped = serializers.IntegerField()
    ended_at = serializers.DateTimeField(allow_null=True)
    ended_by = serializers.CharField(allow_blank=True)


class QuarantinesSerializer(serializers.Serializer[object]):
    """The open quarantines."""

    results = QuarantineSerializer(many=True)


class LateIntervalSerializer(serializers.Serializer[object]):
    """A meter interval that came after a book was closed; energies then and now by name [uWh]."""

    site_id = serializers.CharField()
    asset = serializers.CharField()
    number = serializers.IntegerField()
    revision = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    booked_revision = serializers.IntegerField(allow_null=True)
    booked = serializers.DictField(child=serializers.IntegerField(), allow_null=True)
    now = serializers.DictField(child=serializers.IntegerField())


class LateRecordSerializer(serializers.Serializer[object]):
    """A chunk of the high-rate record that a settlement did not have."""

    site_id = serializers.CharField()
    number = serializers.IntegerField()


class LateFigureSerializer(serializers.Serializer[object]):
    """A figure of an entry, as booked and as it would be."""

    name = serializers.CharField()
    booked = serializers.JSONField()
    now = serializers.JSONField()


class LateEntrySerializer(serializers.Serializer[object]):
    """An entry whose figures would change."""

    chain = serializers.CharField()
    position = serializers.IntegerField()
    kind = serializers.CharField()
    entry_hash = serializers.CharField()
    booked_at = serializers.DateTimeField()
    figures = LateFigureSerializer(many=True)


class LateClosingSerializer(serializers.Serializer[object]):
    """A closing or settlement that late metering touches."""

    book = serializers.CharField()
    closed = serializers.CharField()
    intervals = LateIntervalSerializer(many=True)
    records = LateRecordSerializer(many=True)
    entries = LateEntrySerializer(many=True)


class LateDataSerializer(serializers.Serializer[object]):
    """What late metering touches in a period."""

    results = LateClosingSerializer(many=True)
