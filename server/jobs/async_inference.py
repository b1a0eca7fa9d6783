"""What an asynchronous inference is: from the members of InvokeEndpointAsync to a job. Pure.

The members, their limits and their patterns are those of botocore's model of the operation (sagemaker-runtime,
2017-05-13). Two things are ours:

- SageMaker names a result as it likes; here it is `<InferenceId>.out`, and a failure `<InferenceId>-error.out`, below
  the configured prefixes and S3OutputPathExtension. Filename replaces `<InferenceId>.out`.
- The operation has no TargetModel. Whoever calls this has decided which archive is meant.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from server.domain.errors import InvalidHeader
from server.jobs.locations import S3Folder, S3Location, as_key

BODY_BYTES: Final = 128_000
"""Longest inline body."""
KEY_BYTES: Final = 1024
DEFAULT_TTL_S: Final = 21_600
DEFAULT_TIMEOUT_S: Final = 900

_TEXT: Final = re.compile(r"[\x20-\x7e\t]*")
_INFERENCE_ID: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]*")
_EXTENSION: Final = re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+")
_FILENAME: Final = re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Call:
    """InvokeEndpointAsync as it was sent. `members` has the texts of its headers by member name, absent ones not."""

    endpoint: str
    archive: str
    members: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Places:
    """Where results and failures go, and where payloads may come from: `inputs` empty, from anywhere."""

    output: S3Folder
    failures: S3Folder
    inputs: tuple[S3Folder, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """An accepted call. Times are seconds since the epoch, and seconds."""

    id: str
    """Ours, never repeated."""
    inference_id: str
    """The caller's, or made here."""
    endpoint: str
    archive: str
    input: str
    """The address of the payload; "" where it came with the call."""
    body_digest: str
    """SHA-256 of the payload that came with the call, "" where it is in S3."""
    content_type: str
    """"" leaves it to the object's own."""
    accept: str
    custom_attributes: str
    output: S3Location
    failure: S3Location
    accepted_at: float
    ttl_s: int
    timeout_s: int

    def is_expired(self, now: float) -> bool:
        """Whether it waited longer than its caller wants an answer."""
        return now - self.accepted_at > self.ttl_s

    def is_same_call(self, other: "Job") -> bool:
        """Whether the other job asks for the same thing, as when a client repeats a call whose answer was lost."""
        return replace(self, id=other.id, accepted_at=other.accepted_at) == other


def job_of(call: Call, places: Places, new_id: str, now: float) -> Job:
    """Check a call and make it a job. `new_id` is the job's id, and the InferenceId of a call that has none.

    Raises:
        InvalidHeader: a member breaks its constraint; the text says which, and what is accepted.
    """
    members = call.members
    inference_id = members.get("InferenceId", new_id)
    _require(_INFERENCE_ID, inference_id, 64, "InferenceId", "1 to 64 printable ASCII characters, the first no blank")
    output, failure = _destinations(members, inference_id, places)
    return Job(
        id=new_id,
        inference_id=inference_id,
        endpoint=call.endpoint,
        archive=call.archive,
        input=_input(members, call.body, places.inputs),
        body_digest=sha256(call.body).hexdigest() if call.body else "",
        content_type=_text(members, "ContentType"),
        accept=_text(members, "Accept"),
        custom_attributes=_text(members, "CustomAttributes"),
        output=output,
        failure=failure,
        accepted_at=now,
        ttl_s=_number(members, "RequestTTLSeconds", 60, DEFAULT_TTL_S, DEFAULT_TTL_S),
        timeout_s=_number(members, "InvocationTimeoutSeconds", 1, 3600, DEFAULT_TIMEOUT_S),
    )


def _input(members: Mapping[str, str], body: bytes, allowed: Sequence[S3Folder]) -> str:
    address = members.get("InputLocation")
    if address is None:
        if not body:
            raise InvalidHeader("InputLocation (or a Body) is missing: write the payload to S3 and name it here")
        if len(body) > BODY_BYTES:
            raise InvalidHeader(f"Body may have {BODY_BYTES} bytes; write larger payloads to S3 (InputLocation)")
        return ""
    if body:
        raise InvalidHeader("InputLocation and Body exclude each other; send one of them")
    if address.startswith("https://"):
        # The server would fetch any address that a caller names, from inside the network that it stands in.
        raise InvalidHeader(f"InputLocation {_shown(address)} is not fetched over https; write it as s3://bucket/key")
    if len(address) > 1024:
        raise InvalidHeader("InputLocation may have 1024 characters")
    try:
        location = S3Location.read(address)
    except ValueError as error:
        raise InvalidHeader(f"InputLocation: {error}") from error
    if allowed and not any(folder.holds(location) for folder in allowed):
        raise InvalidHeader(
            f"InputLocation {_shown(address)} lies outside the places that payloads may come from; "
            "the server's setting async_inputs (--async-inputs) names them"
        )
    return str(location)


def _destinations(members: Mapping[str, str], inference_id: str, places: Places) -> tuple[S3Location, S3Location]:
    extension = members.get("S3OutputPathExtension", "")
    if "S3OutputPathExtension" in members:
        wanted = "1 to 512 letters, digits and !_.*'()-/, without a scheme and without . or .. between slashes"
        _require(_EXTENSION, extension, 512, "S3OutputPathExtension", wanted)
        if not {".", ".."}.isdisjoint(extension.split("/")):
            raise InvalidHeader(f"S3OutputPathExtension has to be {wanted}, got {_shown(extension)}")
    file_name = members.get("Filename", "")
    if "Filename" in members:
        _require(_FILENAME, file_name, 32, "Filename", "1 to 32 letters, digits, - and _, with at most one dot")
    key = as_key(inference_id)
    parts = [part for part in extension.split("/") if part]
    output = places.output.object(*parts, file_name or f"{key}.out")
    failure = places.failures.object(*parts, f"{file_name or key}-error.out")
    if max(len(output.key), len(failure.key)) > KEY_BYTES:
        raise InvalidHeader(f"{_shown(output.key)} would be longer than S3's limit of {KEY_BYTES} bytes for a key")
    return output, failure


def _text(members: Mapping[str, str], member: str) -> str:
    value = members.get(member, "")
    _require(_TEXT, value, 1024, member, "at most 1024 ASCII characters")
    return value


def _number(members: Mapping[str, str], member: str, least: int, most: int, default: int) -> int:
    text = members.get(member)
    if text is None:
        return default
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not is_number or not least <= int(text) <= most:
        raise InvalidHeader(f"{member} has to be a whole number from {least} to {most}, got {_shown(text)}")
    return int(text)


def _require(pattern: re.Pattern[str], value: str, most: int, member: str, wanted: str) -> None:
    if len(value) > most or not pattern.fullmatch(value):
        raise InvalidHeader(f"{member} has to be {wanted}, got {_shown(value)}")


def _shown(value: str) -> str:
    """A caller's text, bounded and harmless in a log."""
    return repr(value if len(value) <= 80 else f"{value[:80]}...")
