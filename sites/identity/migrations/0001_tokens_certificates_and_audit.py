"""Tokens, requests, identities, certificates, alarms; an audit that nobody changes."""

import django.db.models.deletion
from django.db import migrations, models

from sites.ledger.migration import append_only


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('registry', '0002_role_groups'),
    ]

    operations = [
        migrations.CreateModel(
            name='SiteCertificate',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('serial', models.CharField(max_length=40, unique=True)),
                ('fingerprint', models.CharField(max_length=64)),
                ('pem', models.TextField()),
                ('issued_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('superseded_at', models.DateTimeField(null=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('reason', models.CharField(blank=True, max_length=200)),
            ],
            options={
                'ordering': ['-issued_at', '-pk'],
            },
        ),
        migrations.CreateModel(
            name='EnrolmentToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('token_hash', models.CharField(max_length=64, unique=True)),
                ('issued_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('issued_by', models.CharField(max_length=150)),
                ('spent_at', models.DateTimeField(null=True)),
                ('withdrawn_at', models.DateTimeField(null=True)),
                ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='enrolment_tokens', to='registry.site')),
            ],
        ),
        migrations.CreateModel(
            name='CertificateRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('csr', models.TextField()),
                ('fingerprint', models.CharField(max_length=64, unique=True)),
                ('requested_at', models.DateTimeField()),
                ('address', models.CharField(max_length=45)),
                ('status', models.CharField(choices=[('pending', 'waits for an operator'), ('approved', 'approved, waits for its signature'), ('issued', 'certificate issued'), ('refused', 'refused')], default='pending', max_length=8)),
                ('decided_at', models.DateTimeField(null=True)),
                ('decided_by', models.CharField(blank=True, max_length=150)),
                ('reason', models.CharField(blank=True, max_length=200)),
                ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='certificate_requests', to='registry.site')),
                ('token', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='request', to='identity.enrolmenttoken')),
                ('certificate', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='request', to='identity.sitecertificate')),
                ('renews', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='renewal', to='identity.sitecertificate')),
            ],
            options={
                'ordering': ['-requested_at', '-pk'],
            },
        ),
        migrations.CreateModel(
            name='SiteIdentity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('identity', models.CharField(max_length=32, unique=True)),
                ('client_suffix', models.CharField(max_length=32)),
                ('started_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('reason', models.CharField(blank=True, max_length=200)),
                ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='identities', to='registry.site')),
            ],
            options={
                'verbose_name_plural': 'site identities',
            },
        ),
        migrations.AddField(
            model_name='sitecertificate',
            name='identity',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='certificates', to='identity.siteidentity'),
        ),
        migrations.CreateModel(
            name='CloneAlarm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField()),
                ('times', models.PositiveIntegerField(default=1)),
                ('evidence', models.CharField(max_length=300)),
                ('closed_at', models.DateTimeField(null=True)),
                ('closed_by', models.CharField(blank=True, max_length=150)),
                ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='clone_alarms', to='registry.site')),
            ],
            options={
                'ordering': ['-last_at'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('closed_at__isnull', True)), fields=('site',), name='identity_one_open_alarm_per_site')],
            },
        ),
        migrations.CreateModel(
            name='IdentityEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('action', models.CharField(max_length=40)),
                ('actor', models.CharField(max_length=150)),
                ('address', models.CharField(blank=True, max_length=45)),
                ('detail', models.CharField(blank=True, max_length=300)),
                ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='identity_events', to='registry.site')),
            ],
            options={
                'ordering': ['-at', '-pk'],
                'indexes': [models.Index(fields=['site', '-at'], name='identity_event_of_site')],
            },
        ),
        migrations.AddConstraint(
            model_name='siteidentity',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('site',), name='identity_one_live_per_site'),
        ),
        *append_only("identity_identityevent", keys=(("id",),), advice="an audit row stands as it was written"),
    ]
