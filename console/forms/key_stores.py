"""What the forms of a custom key store read from a post: what to ask KMS for, and what must be corrected first.

The password is read and handed on, and never sent back. Of a certificate only what is one is sent back, so that a
private key that was chosen by mistake does not appear on a page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

Problems = dict[str, str]  # id of the field -> sentence

MAX_NAME = 256
MAX_CERTIFICATE = 5000
PASSWORD_LENGTHS = range(7, 33)
NAME, CLUSTER, CERTIFICATE, PASSWORD = "id_name", "id_cluster", "id_certificate", "id_password"
LABELS = {
    NAME: "Custom key store name",
    CLUSTER: "CloudHSM cluster",
    CERTIFICATE: "Trust anchor certificate",
    PASSWORD: "kmsuser password",
}
# Which field a refusal of KMS is about.
FIELD_OF = {
    "CustomKeyStoreNameInUseException": NAME,
    "CloudHsmClusterInUseException": CLUSTER,
    "CloudHsmClusterInvalidConfigurationException": CLUSTER,
    "CloudHsmClusterNotActiveException": CLUSTER,
    "CloudHsmClusterNotFoundException": CLUSTER,
    "CloudHsmClusterNotRelatedException": CLUSTER,
    "IncorrectTrustAnchorException": CERTIFICATE,
}


@dataclass
class StoreForm:
    """What was entered."""

    name: str = ""
    cluster_id: str = ""
    certificate: str = ""  # PEM; empty where what was sent is no certificate
    password: str = field(default="", repr=False)

    def parameters(self) -> dict[str, Any]:
        """Of CreateCustomKeyStore."""
        return {
            "CustomKeyStoreName": self.name,
            "CloudHsmClusterId": self.cluster_id,
            "TrustAnchorCertificate": self.certificate,
            "KeyStorePassword": self.password,
        }

    def changes(self, store: dict[str, Any]) -> dict[str, Any]:
        """Of UpdateCustomKeyStore, without its id: only what differs from the store."""
        changed: dict[str, Any] = {}
        if self.name != store["CustomKeyStoreName"]:
            changed["NewCustomKeyStoreName"] = self.name
        if self.cluster_id and self.cluster_id != store["CloudHsmClusterId"]:
            changed["CloudHsmClusterId"] = self.cluster_id
        if self.password:
            changed["KeyStorePassword"] = self.password
        return changed


def read_new(post: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> tuple[StoreForm, Problems]:
    """Everything of a new store."""
    form, problems = _read(post)
    if not form.cluster_id:
        problems[CLUSTER] = "Choose a cluster."
    sent = _sent_certificate(post, files)
    form.certificate = _certificate(sent)
    if not sent:
        problems[CERTIFICATE] = "Choose the certificate file customerCA.crt, or paste its content."
    elif not form.certificate:
        problems[CERTIFICATE] = (
            f"What was sent is not one PEM certificate of up to {MAX_CERTIFICATE} characters. Choose customerCA.crt."
        )
    if not form.password:
        problems[PASSWORD] = "Enter the password of kmsuser."
    return form, {id: problems[id] for id in LABELS if id in problems}


def read_changes(post: QueryDict) -> tuple[StoreForm, Problems]:
    """What may be changed; an empty password stays as it is."""
    return _read(post)


def _read(post: QueryDict) -> tuple[StoreForm, Problems]:
    form = StoreForm(
        name=_clean(post.get("name", "")).strip()[: MAX_NAME * 2],
        cluster_id=_clean(post.get("cluster", ""))[:64],
        password=_clean(post.get("password", "")),
    )
    problems: Problems = {}
    if not form.name:
        problems[NAME] = "Custom key store name is required."
    elif len(form.name) > MAX_NAME:
        problems[NAME] = f"Custom key store name must be 1 to {MAX_NAME} characters. Shorten it."
    if form.password and len(form.password) not in PASSWORD_LENGTHS:
        problems[PASSWORD] = "The password must be 7 to 32 characters."
    return form, problems


def _sent_certificate(post: QueryDict, files: MultiValueDict[str, UploadedFile[Any]]) -> str:
    """The file where one was chosen, else what was pasted."""
    file = files.get("certificate_file")
    if file is not None and file.size:
        sent: bytes = file.read(4 * MAX_CERTIFICATE)
        return sent.decode("utf-8", "replace").strip()
    return _clean(post.get("certificate", "")).strip()[: 4 * MAX_CERTIFICATE]


def _certificate(sent: str) -> str:
    """The text if it holds one certificate and no key, with lines as files have them; else nothing."""
    text = sent.replace("\r\n", "\n")
    if len(text) > MAX_CERTIFICATE or "PRIVATE KEY" in text:
        return ""
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
    except (ValueError, x509.InvalidVersion):
        return ""
    return f"{text}\n" if len(certificates) == 1 else ""


def _clean(text: str) -> str:
    # No field of KMS takes NUL, and a database may not either.
    return text.replace("\0", "")
