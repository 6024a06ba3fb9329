from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metering", "0003_interval_service")]

    operations = [
        migrations.DeleteModel(name="WorkerHeartbeat"),
        migrations.CreateModel(
            name="PartitionLease",
            fields=[
                ("partition", models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ("holder", models.CharField(blank=True, max_length=64)),
                ("is_own", models.BooleanField(default=False)),
                ("token", models.PositiveBigIntegerField(default=0)),
                ("expires_at", models.DateTimeField()),
                ("wanted_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
