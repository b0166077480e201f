"""What a browser is told by the status of a page that shows a refusal.

The wire answers most refusals by 400, as AWS does. A page says by its status what is meant: the same where a page was
asked for and where a form was posted.
"""

from __future__ import annotations

from kmsapp.errors import AccessDeniedException, KmsError

NOT_FOUND_CODES = {
    "NotFoundException",
    "NoSuchEntityException",
    "CustomKeyStoreNotFoundException",
    "CloudHsmResourceNotFoundException",
}


def status_of(error: KmsError, *, is_of_address: bool = True) -> int:
    """is_of_address: the call is about what the page's address names, not about what was chosen in its form. Only then
    is the page of something that is not there.
    """
    if isinstance(error, AccessDeniedException):
        return 403
    return 404 if is_of_address and error.code in NOT_FOUND_CODES else error.status
