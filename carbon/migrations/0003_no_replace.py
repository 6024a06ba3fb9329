"""The carbon book refuses INSERT OR REPLACE too, which passes delete triggers by on SQLite."""

from django.db import migrations

from sites.ledger.migration import append_only


class Migration(migrations.Migration):
    dependencies = [("carbon", "0002_append_only")]

    # Going back leaves the triggers: an earlier migration takes them away.
    operations = [
        migrations.RunPython(operation.code, migrations.RunPython.noop)
        for operation in append_only("carbon_carbonentry")
    ]
