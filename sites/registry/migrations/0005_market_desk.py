"""The group that carries the market desk's role."""

from django.db import migrations


def add_group(apps, schema_editor):
    apps.get_model("auth", "Group").objects.get_or_create(name="desk")


def remove_group(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name="desk").delete()


class Migration(migrations.Migration):
    dependencies = [("registry", "0004_meters")]

    operations = [migrations.RunPython(add_group, remove_group)]
