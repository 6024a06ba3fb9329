"""The carbon book refuses UPDATE and DELETE."""

from django.db import migrations

from sites.ledger.migration import append_only


class Migration(migrations.Migration):
    dependencies = [("carbon", "0001_initial"), ("ledger", "0001_initial")]

    operations = [*append_only("carbon_carbonentry")]
