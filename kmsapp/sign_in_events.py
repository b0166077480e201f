"""Sign-ins to the console in the audit record: ConsoleLogin, and SwitchRole.

Each is one event, written before the answer leaves. A name that nobody has is hidden, because what people type there
may be their password; what is tried at an account that is not there is nobody's to read, and is not kept.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-aws-console-sign-in-events.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hsmapp import clock
from kmsapp import audit, ids
from kmsapp.audit import Event
from kmsapp.caller import Caller
from kmsapp.models import Account, User

LOGIN, SWITCH = NAMES = ("ConsoleLogin", "SwitchRole")
TYPE = "AwsConsoleSignIn"
HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
NOBODY, FAILED = "No username found in supplied account", "Failed authentication"
LONGEST_ADDRESS = 1024


@dataclass(frozen=True)
class Browser:
    """From where somebody signs in, and where that leads."""

    region: str
    source_ip: str
    user_agent: str
    leads_to: str  # URL


def record_login(browser: Browser, account: str, user_name: str, *, succeeded: bool) -> None:
    """Write ConsoleLogin. user_name: as it was typed; empty for the root user.

    Raises: OSError: then there must be no answer.
    """
    # The same look-ups whatever was wrong, so that the time of the answer does not tell.
    user = User.objects.filter(account_id=account, user_name__iexact=user_name).first()
    is_there = Account.objects.filter(pk=account).exists()
    event = _event(browser, LOGIN, _who(account, user), account, succeeded=succeeded)
    event["additionalEventData"] = {
        "LoginTo": browser.leads_to[:LONGEST_ADDRESS],
        "MobileVersion": "No",
        "MFAUsed": "No",
    }
    if not succeeded:
        event["errorMessage"] = NOBODY if user is None else FAILED
    if is_there:
        audit.append(event)


def record_switch(browser: Browser, own: Caller, acting: Caller) -> None:
    """Write SwitchRole, in the account of the role. own: who has signed in; acting: the session of the role."""
    identity = audit.user_identity(replace(acting, session_began_at=None, via="wire"))
    event = _event(browser, SWITCH, identity, acting.account, succeeded=True)
    event["additionalEventData"] = {
        "SwitchFrom": own.principal_arn,
        "RedirectTo": browser.leads_to[:LONGEST_ADDRESS],
    }
    audit.append(event)


def _who(account: str, user: User | None) -> Event:
    if user is None:
        return {"type": "IAMUser", "accountId": account, "accessKeyId": "", "userName": HIDDEN}
    who: Event = {"principalId": user.user_id, "arn": user.arn, "accountId": account, "accessKeyId": ""}
    return {"type": "Root", **who} if user.is_root else {"type": "IAMUser", **who, "userName": user.user_name}


def _event(browser: Browser, name: str, identity: Event, account: str, *, succeeded: bool) -> dict[str, Any]:
    return {
        "eventVersion": audit.VERSION,
        "userIdentity": identity,
        "eventTime": audit.time_of(clock.now()),
        "eventSource": "signin.amazonaws.com",
        "eventName": name,
        "awsRegion": browser.region,
        "sourceIPAddress": browser.source_ip,
        "userAgent": browser.user_agent[: audit.LONGEST_USER_AGENT],
        "requestParameters": None,
        "responseElements": {name: "Success" if succeeded else "Failure"},
        "eventID": ids.new_uuid(),
        "readOnly": False,
        "eventType": TYPE,
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
