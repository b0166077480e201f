"""Users of an older version could do everything in their account; they still can, until somebody takes it from them."""

import json

from django.db import migrations
from django.utils import timezone

NAME = "EverythingAsBefore"
DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}, indent=2
)
NO_PASSWORD = "!"  # as Django writes one that cannot be right


def let_go_on(apps, schema_editor):
    """Give each user a policy that allows everything, and each account a root user without a password."""
    User = apps.get_model("kmsapp", "User")
    InlinePolicy = apps.get_model("kmsapp", "InlinePolicy")
    for user in User.objects.filter(is_root=False):
        InlinePolicy.objects.get_or_create(user=user, name=NAME, defaults={"document": DOCUMENT})
    for account in apps.get_model("kmsapp", "Account").objects.all():
        User.objects.get_or_create(
            account=account,
            is_root=True,
            defaults={
                "user_id": account.account_id,
                "user_name": "",
                "password": NO_PASSWORD,
                "created_at": timezone.now(),
            },
        )


class Migration(migrations.Migration):
    dependencies = [("kmsapp", "0002_policies_sessions_grants")]

    operations = [migrations.RunPython(let_go_on, migrations.RunPython.noop)]
