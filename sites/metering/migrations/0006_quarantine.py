from django.db import migrations, models


def leave_room(apps, schema_editor):
    """Let a row of the live state stand beside its next version: each is replaced once a second."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE metering_livestate SET (fillfactor = 50)")


class Migration(migrations.Migration):
    dependencies = [("metering", "0005_what_a_site_stands_at")]

    operations = [
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("site_id", models.CharField(blank=True, max_length=64)),
                ("reason", models.CharField(max_length=20)),
                ("started_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("dropped", models.PositiveBigIntegerField(default=0)),
                ("ended_at", models.DateTimeField(null=True)),
                ("ended_by", models.CharField(blank=True, max_length=150)),
            ],
            options={
                "indexes": [models.Index(fields=["started_at"], name="metering_quarantine_at")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)), fields=("site_id",), name="metering_one_open_quarantine"
                    )
                ],
            },
        ),
        migrations.RunPython(leave_room, migrations.RunPython.noop),
    ]
