"""A statement for each settlement run; those there are become run 1."""

from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def first_runs(apps: Any, _schema_editor: Any) -> None:
    """The first run's difference is its amount."""
    apps.get_model("markets", "Statement").objects.update(difference=models.F("amount"))


class Migration(migrations.Migration):
    dependencies = [("markets", "0002_no_replace")]

    operations = [
        migrations.AlterField(
            model_name="statement",
            name="obligation",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="statements", to="markets.obligation"
            ),
        ),
        migrations.AddField(model_name="statement", name="run", field=models.PositiveIntegerField(default=1)),
        migrations.AddField(
            model_name="statement",
            name="difference",
            field=models.DecimalField(decimal_places=6, default=0, max_digits=20),
            preserve_default=False,
        ),
        migrations.RunPython(first_runs, migrations.RunPython.noop),
        migrations.AlterModelOptions(name="statement", options={"ordering": ["obligation", "run"]}),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.UniqueConstraint(fields=("obligation", "run"), name="markets_one_statement_per_run"),
        ),
    ]
