"""The steps of the create-key wizard, in the order of the scope document."""

from __future__ import annotations

from dataclasses import dataclass

from console.drafts import Choices


@dataclass(frozen=True)
class Step:
    slug: str
    title: str
    description: str
    optional: bool = False
    help_topic: str = ""

    @property
    def template(self) -> str:
        return f"create_key/{self.slug}.html"


STEPS = (
    Step(
        "configure", "Configure key", "Choose the type of the key, how it is used, and where its key material is kept."
    ),
    Step(
        "key-store",
        "Choose a custom key store",
        "Choose the AWS CloudHSM key store that holds the key material.",
        help_topic="connecting-a-key-store",
    ),
    Step("labels", "Add labels", "Give the key a name that people find it by."),
    Step("tags", "Add Tags", "Identify and categorize the key.", optional=True, help_topic="tags"),
    Step(
        "administrators",
        "Define key administrative permissions",
        "Choose who can manage the key.",
        optional=True,
        help_topic="key-policies",
    ),
    Step(
        "users",
        "Define key usage permissions",
        "Choose who can use the key in cryptographic operations.",
        optional=True,
        help_topic="key-policies",
    ),
    Step(
        "policy",
        "Edit key policy",
        "Check the policy that follows from your choices, and change it where needed.",
        optional=True,
        help_topic="key-policies",
    ),
    Step("review", "Review", "Check your choices. You can go back and change all of them."),
)
BY_SLUG = {step.slug: step for step in STEPS}
SLUGS = [step.slug for step in STEPS]
ASKING = [slug for slug in SLUGS if slug != "review"]
FIRST_OPTIONAL = next(step.slug for step in STEPS if step.optional)


@dataclass(frozen=True)
class Entry:
    """A step as the list at the left shows it."""

    number: int
    step: Step
    state: str  # active, reachable or locked


def first_incomplete(choices: Choices) -> str:
    """The first step that was not left with Next; "review" when there is none."""
    return next((slug for slug in ASKING if slug not in choices.done), "review")


def is_reachable(slug: str, choices: Choices) -> bool:
    return SLUGS.index(slug) <= SLUGS.index(first_incomplete(choices))


def following(slug: str) -> str:
    return SLUGS[SLUGS.index(slug) + 1]


def preceding(slug: str) -> str:
    return SLUGS[max(SLUGS.index(slug) - 1, 0)]


def entries(active: str, choices: Choices) -> list[Entry]:
    """The list at the left: where the person is, and which steps can be gone to."""
    return [
        Entry(
            number,
            step,
            "active" if step.slug == active else "reachable" if is_reachable(step.slug, choices) else "locked",
        )
        for number, step in enumerate(STEPS, start=1)
    ]


def can_skip_to_review(slug: str) -> bool:
    """Whether everything from here to the review is optional."""
    return BY_SLUG[slug].optional and slug != ASKING[-1]
