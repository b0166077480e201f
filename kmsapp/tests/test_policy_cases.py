"""Decisions: those of a reference set, those of AWS's documentation, and the command that makes them."""

from __future__ import annotations

import gzip
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from kmsapp.policy import explanation
from kmsapp.policy.cases import Case, read
from kmsapp.policy.evaluation import Decision, Outcome, PolicyType, evaluate
from kmsapp.policy.explanation import State
from kmsapp.testing import ROOT

REFERENCE = ROOT.parent / "shared" / "data" / "iam" / "policy-cases.jsonl.gz"
OURS = Path(__file__).parent / "data" / "policy_cases.jsonl"
LINES = OURS.read_text().splitlines()
BY_ID = {str(json.loads(line)["id"]): line for line in LINES}


@pytest.mark.skipif(not REFERENCE.is_file(), reason="the reference set is not beside the repository")
def test_the_reference_set_is_decided_as_it_expects() -> None:
    with gzip.open(REFERENCE, "rt") as lines:
        cases = [read(line) for line in lines]
    wrong = [case.id for case in cases if evaluate(case.request, case.policies).outcome != case.expected]
    assert len(cases) >= 1200 and not wrong
    print(f"{len(cases)} decisions of the reference set")


@pytest.mark.parametrize("line", BY_ID.values(), ids=BY_ID)
def test_the_documentation_s_rules(line: str) -> None:
    case = read(line)
    assert json.loads(line)["source"]
    assert evaluate(case.request, case.policies).outcome == case.expected


def decided(case_id: str) -> Decision:
    case = read(BY_ID[case_id])
    return evaluate(case.request, case.policies)


KEY = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ALICE = "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: kms:Decrypt on resource: " + KEY
CAROL = ALICE.replace("111122223333:user/alice", "444455556666:user/carol")
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
DENIALS = {
    "default policy without IAM policy": f"{ALICE} because no identity-based policy allows the kms:Decrypt action",
    "IAM allow without delegation": f"{ALICE} because no resource-based policy allows the kms:Decrypt action",
    "not named, IAM allows": f"{CAROL} because no resource-based policy allows the kms:Decrypt action",
    "other account named and its IAM silent": f"{CAROL} because no identity-based policy allows the kms:Decrypt action",
    "boundary does not allow": f"{ALICE} because no permissions boundary allows the kms:Decrypt action",
    "boundary denies": f"{ALICE} with an explicit deny in a permissions boundary",
    "deny in IAM beats key policy": f"{ALICE} with an explicit deny in an identity-based policy",
    "deny in key policy beats everything": f"{ALICE} with an explicit deny in a resource-based policy",
    "CreateKey without IAM": (
        "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: kms:CreateKey on resource: * "
        "because no identity-based policy allows the kms:CreateKey action"
    ),
}


@pytest.mark.parametrize(("case_id", "message"), DENIALS.items(), ids=DENIALS)
def test_a_denial_is_told_in_aws_s_words(case_id: str, message: str) -> None:
    assert explanation.access_denied(decided(case_id)) == message


def test_a_session_policy_s_denials() -> None:
    silent, denying = decided("session policy does not allow"), decided("session policy denies")
    assert silent.missing is PolicyType.SESSION and denying.policy_type is PolicyType.SESSION
    assert explanation.because(silent) == "because no session policy allows the kms:Decrypt action"
    assert explanation.because(denying) == "with an explicit deny in a session policy"


def test_a_decision_names_the_statement_that_made_it() -> None:
    allowed = decided("default policy and IAM allow")
    assert (allowed.policy_type, allowed.policy) == (PolicyType.IDENTITY, "identity-based policy 1")
    assert allowed.statement is not None and (allowed.statement.index, allowed.statement.place) == (0, (4, 5))
    delegating = allowed.found.key
    assert delegating is not None and delegating.statement.sid == "Enable IAM User Permissions"
    denied = decided("deny in key policy beats everything")
    assert denied.statement is not None and (denied.policy_type, denied.statement.index) == (PolicyType.RESOURCE, 1)
    granted = decided("a grant needs no policy")
    assert (granted.policy_type, granted.policy, granted.statement) == (PolicyType.GRANT, "g1", None)


PATHS = {
    "default policy and IAM allow": "- + + - - -",
    "default policy without IAM policy": "- + x - - x",
    "user named in the key policy needs no IAM policy": "+ - - - - -",
    "IAM allow without delegation": "x x + - - x",
    "deny in key policy beats everything": "x - - - - -",
    "deny in IAM beats key policy": "- - x - - -",
    "role named is limited by the boundary": "+ - - x - x",
    "session named is not limited by the boundary": "+ - - - - -",
    "all three allow": "- + + + + -",
    "boundary allows, session policy does not": "- + + + x x",
    "a grant needs no policy": "- - - - - +",
    "a grant for another account's user with IAM": "- - + - - +",
    "a grant for another account's user without IAM": "x x x - - x",
    "CreateKey by IAM alone": "- - + - - -",
    "CreateKey without IAM": "- - x - - -",
    "root user by the account statement": "- + + - - -",
    "everyone, from another account, IAM silent": "+ - x - - x",
}
SIGNS = {State.PASSED: "+", State.FAILED: "x", State.NOT_NEEDED: "-"}


@pytest.mark.parametrize(("case_id", "signs"), PATHS.items(), ids=PATHS)
def test_the_way_of_a_request(case_id: str, signs: str) -> None:
    """Key policy, delegation, identity-based policies, boundary, session policy, grant."""
    assert " ".join(SIGNS[step.state] for step in explanation.path(decided(case_id))) == signs


def every_case() -> list[Case]:
    return [read(line) for line in LINES]


def test_every_way_fits_its_decision() -> None:
    for case in every_case():
        decision = evaluate(case.request, case.policies)
        steps = explanation.path(decision)
        assert [step.name for step in steps] == [
            "key policy",
            "delegation to the account",
            "identity-based policies",
            "permissions boundary",
            "session policy",
            "grant",
        ]
        assert all(step.sentence for step in steps), case.id
        passed, failed = (any(step.state is state for step in steps) for state in (State.PASSED, State.FAILED))
        assert (passed and not failed) if decision.is_allowed else failed, case.id
        assert bool(explanation.because(decision)) is not decision.is_allowed


# The command


def command(*arguments: Any) -> str:
    output = StringIO()
    call_command("policy", *map(str, arguments), stdout=output)
    return output.getvalue()


def test_evaluate_prints_one_verdict_per_line_in_order(tmp_path: Path) -> None:
    expected = [json.loads(line)["expected"] for line in LINES]
    assert command("evaluate", OURS).splitlines() == expected
    compressed = tmp_path / "cases.gz"
    compressed.write_bytes(gzip.compress(OURS.read_bytes()))
    assert command("evaluate", compressed).splitlines() == expected
    assert {verdict.value for verdict in Outcome} == set(expected)


def test_explain_says_why() -> None:
    text = command("explain", OURS, "--id", "role named is limited by the boundary")
    assert text.startswith("role named is limited by the boundary: implicitDeny\n")
    assert "FAILED      permissions boundary: It does not allow it." in text
    assert "because no permissions boundary allows the kms:Decrypt action" in text
    assert "Allow in key policy, statement 1, line 4: applies" in text
    assert "Allow in boundary, statement 1, line 4: does not apply: another action" in text
    everything = command("explain", OURS)
    assert everything.count("  Statements:\n") == len(LINES)
    assert "condition StringEquals on kms:ViaService is not met" in everything


GOOD = LINES[0]
BAD_LINES = {
    "no JSON": ("{", "it is not valid JSON"),
    "nested too deeply": ("[" * 100_000, "it is not valid JSON"),
    "a list": ("[]", "it must be a JSON object"),
    "no principal": ("{}", "it must have principal, a text"),
    "an action that is none": (json.dumps(json.loads(GOOD) | {"action": 1}), "it must have action, a text"),
    "a context that is none": (json.dumps(json.loads(GOOD) | {"context": []}), "context must be an object"),
    "a value that is none": (json.dumps(json.loads(GOOD) | {"context": {"a": 1}}), "the context's a must be a text"),
    "a policy that is none": (
        json.dumps(json.loads(GOOD) | {"identityPolicies": [{"Version": "2012-10-17", "Statement": [{}]}]}),
        "identityPolicies, policy 1: Syntax errors in policy. Line 4, column 5: Statement 1 of the identity-based",
    ),
    "unique ids that are none": (json.dumps(json.loads(GOOD) | {"keyPolicyPrincipals": [1]}), "keyPolicyPrincipals"),
}


@pytest.mark.parametrize(("line", "sentence"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_malformed_line_is_named_by_its_number(tmp_path: Path, line: str, sentence: str) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text(f"{GOOD}\n\n{line}\n")
    for verb in ("evaluate", "explain"):
        with pytest.raises(CommandError) as error:
            command(verb, file)
        assert str(error.value).startswith("Line 3: ") and sentence in str(error.value)
        assert error.value.returncode == 2


def test_a_file_that_can_t_be_read_is_told(tmp_path: Path) -> None:
    latin, broken = tmp_path / "latin", tmp_path / "broken.gz"
    latin.write_bytes(b"\xe9")
    broken.write_bytes(gzip.compress(OURS.read_bytes())[:1000])
    for file in (tmp_path / "none", tmp_path, latin, broken):
        with pytest.raises(CommandError) as error:
            command("evaluate", file)
        assert str(file) in str(error.value) and error.value.returncode == 2
    with pytest.raises(CommandError, match="has no request of id nobody"):
        command("explain", OURS, "--id", "nobody")
