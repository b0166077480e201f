import django.db.models.deletion
from django.db import migrations, models

OPERATIONS = ("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext")


def look_back(apps, schema_editor):
    """Find the last use of each key in the audit record, which is as old as the first key."""
    AuditEvent = apps.get_model("kmsapp", "AuditEvent")
    KeyLastUsage = apps.get_model("kmsapp", "KeyLastUsage")
    for key in apps.get_model("kmsapp", "KmsKey").objects.order_by("pk").iterator():
        arn = f"arn:aws:kms:{key.region}:{key.account}:key/{key.key_id}"
        uses = AuditEvent.objects.filter(resource=arn, error_code="", event_name__in=OPERATIONS)
        last = uses.order_by("-event_time", "-id").first()
        if last is not None:
            KeyLastUsage.objects.update_or_create(
                key=key,
                defaults={
                    "operation": last.event_name,
                    "used_at": last.event_time,
                    "event_id": str(last.event_id),
                    "request_id": last.request_id,
                },
            )


class Migration(migrations.Migration):

    dependencies = [
        ("kmsapp", "0004_key_deletion"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyLastUsage",
            fields=[
                (
                    "key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="last_usage",
                        serialize=False,
                        to="kmsapp.kmskey",
                    ),
                ),
                ("operation", models.CharField(max_length=64)),
                ("used_at", models.DateTimeField()),
                ("event_id", models.CharField(max_length=36)),
                ("request_id", models.CharField(max_length=64)),
            ],
        ),
        migrations.RunPython(look_back, migrations.RunPython.noop),
    ]
