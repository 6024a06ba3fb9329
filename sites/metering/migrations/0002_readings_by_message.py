"""Readings by message in daily partitions, with roll-ups. Readings of the former table are not kept: they lived for days."""

import django.db.models.deletion
from django.db import migrations, models

import sites.metering.vectors

PARTITIONED = {"Reading": "measured_at", "MinuteRollUp": "starts_at"}


def make_tables(apps, schema_editor):
    for name, column in PARTITIONED.items():
        model = apps.get_model("metering", name)
        if schema_editor.connection.vendor != "postgresql":
            schema_editor.create_model(model)
            continue
        table = schema_editor.quote_name(model._meta.db_table)
        sql, _ = schema_editor.table_sql(model)
        schema_editor.execute(f"{sql} PARTITION BY RANGE ({schema_editor.quote_name(column)})")
        rest = schema_editor.quote_name(f"{model._meta.db_table}_rest")
        schema_editor.execute(f"CREATE TABLE {rest} PARTITION OF {table} DEFAULT")


def drop_tables(apps, schema_editor):
    for name in PARTITIONED:
        schema_editor.delete_model(apps.get_model("metering", name))


def the_site():
    return models.ForeignKey(
        db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+",
        to="registry.site",
    )


def the_shape():
    return models.ForeignKey(
        db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="+",
        to="metering.readingshape",
    )


def a_roll_up(name):
    return migrations.CreateModel(
        name=name,
        fields=[
            ("pk", models.CompositePrimaryKey(
                "site_id", "starts_at", "asset", "shape_id", blank=True, editable=False, primary_key=True, serialize=False
            )),
            ("starts_at", models.DateTimeField()),
            ("asset", models.CharField(blank=True, max_length=32)),
            ("revision", models.PositiveIntegerField(default=0)),
            ("counts", sites.metering.vectors.VectorField()),
            ("totals", sites.metering.vectors.VectorField()),
            ("lows", sites.metering.vectors.VectorField()),
            ("highs", sites.metering.vectors.VectorField()),
            ("shape", the_shape()),
            ("site", the_site()),
        ],
        options={"abstract": False},
    )


class Migration(migrations.Migration):
    dependencies = [("metering", "0001_initial"), ("registry", "0002_role_groups")]

    operations = [
        migrations.DeleteModel(name="Reading"),
        migrations.RemoveIndex(model_name="livestate", name="metering_live_measured_at"),
        migrations.CreateModel(
            name="ReadingShape",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("names", models.CharField(max_length=1024, unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="RollUpDue",
            fields=[
                ("pk", models.CompositePrimaryKey(
                    "partition", "minute_at", blank=True, editable=False, primary_key=True, serialize=False
                )),
                ("partition", models.PositiveSmallIntegerField()),
                ("minute_at", models.DateTimeField()),
                ("noted_at", models.DateTimeField()),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Reading",
                    fields=[
                        ("pk", models.CompositePrimaryKey(
                            "site_id", "measured_at", "asset", "shape_id",
                            blank=True, editable=False, primary_key=True, serialize=False,
                        )),
                        ("measured_at", models.DateTimeField()),
                        ("asset", models.CharField(blank=True, max_length=32)),
                        ("received_at", models.DateTimeField()),
                        ("values", sites.metering.vectors.VectorField()),
                        ("shape", the_shape()),
                        ("site", the_site()),
                    ],
                ),
                a_roll_up("MinuteRollUp"),
            ],
        ),
        migrations.RunPython(make_tables, drop_tables),
        a_roll_up("QuarterRollUp"),
    ]
