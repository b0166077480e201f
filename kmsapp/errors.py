"""Answers that are given on purpose when a call can't be done: one class per AWS error, named as AWS names it.

`message` goes on the wire and is shown to people: what happened, the value, what to do. An empty message is AWS's own
choice where it is made (a bad ciphertext must not say why).
"""

from __future__ import annotations

# Many a message repeats what was sent, as AWS's do. A body may be a megabyte, and its sender nobody.
LONGEST_MESSAGE = 8192


class KmsError(Exception):
    """An answer on purpose. `code` goes on the wire; `message` is shown to people; `status` is the HTTP status."""

    status = 400

    def __init__(self, message: str = ""):
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}..."
        super().__init__(message)
        self.message = message

    @property
    def code(self) -> str:
        return type(self).__name__


# Common to all services.
class ValidationException(KmsError): ...


class SerializationException(KmsError): ...


class UnknownOperationException(KmsError): ...


class UnsupportedOperationException(KmsError): ...


class AccessDeniedException(KmsError): ...


class ThrottlingException(KmsError): ...


class RequestEntityTooLargeException(KmsError):
    status = 413


class MissingAuthenticationTokenException(KmsError): ...


class IncompleteSignatureException(KmsError): ...


class InvalidSignatureException(KmsError): ...


class UnrecognizedClientException(KmsError): ...


class ExpiredTokenException(KmsError): ...


# KMS: https://docs.aws.amazon.com/kms/latest/APIReference/API_Operations.html
class AlreadyExistsException(KmsError): ...


class CloudHsmClusterInUseException(KmsError): ...


class CloudHsmClusterInvalidConfigurationException(KmsError): ...


class CloudHsmClusterNotActiveException(KmsError): ...


class CloudHsmClusterNotFoundException(KmsError): ...


class CloudHsmClusterNotRelatedException(KmsError): ...


class CustomKeyStoreHasCMKsException(KmsError): ...


class CustomKeyStoreInvalidStateException(KmsError): ...


class CustomKeyStoreNameInUseException(KmsError): ...


class CustomKeyStoreNotFoundException(KmsError): ...


class DependencyTimeoutException(KmsError):
    status = 500


class DisabledException(KmsError): ...


class DryRunOperationException(KmsError): ...


class IncorrectKeyException(KmsError): ...


class IncorrectTrustAnchorException(KmsError): ...


class InvalidArnException(KmsError): ...


class InvalidCiphertextException(KmsError): ...


class InvalidGrantIdException(KmsError): ...


class InvalidGrantTokenException(KmsError): ...


class InvalidKeyUsageException(KmsError): ...


class InvalidMarkerException(KmsError): ...


class KMSInternalException(KmsError):
    status = 500


class KMSInvalidStateException(KmsError): ...


class LimitExceededException(KmsError): ...


class MalformedPolicyDocumentException(KmsError): ...


class NotAuthorizedException(KmsError): ...


class NotFoundException(KmsError): ...


class TagException(KmsError): ...


# STS: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html; the model leaves out the last.
class PackedPolicyTooLargeException(KmsError): ...


class InvalidParameterValue(KmsError): ...


# CloudHSM v2: https://docs.aws.amazon.com/cloudhsm/latest/APIReference/CommonErrors.html
class CloudHsmInvalidRequestException(KmsError): ...


class CloudHsmResourceNotFoundException(KmsError): ...


# IAM: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html. LimitExceeded and MalformedPolicyDocument
# are above; the query protocol gives each its own code and status, as the model has them.
class DeleteConflictException(KmsError):
    status = 409


class EntityAlreadyExistsException(KmsError):
    status = 409


class InvalidInputException(KmsError): ...


class InvalidUserTypeException(KmsError): ...


class NoSuchEntityException(KmsError):
    status = 404


class PasswordPolicyViolationException(KmsError): ...
