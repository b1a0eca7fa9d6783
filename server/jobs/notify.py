"""Telling subscribers how a job ended: the message that SageMaker publishes on SNS, and its sending.

Source of the format: SageMaker's developer guide, "Check prediction results" of asynchronous inference, and messages
that its users have shown. `eventName` and the like are constant there too.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from server.domain.errors import StoreUnavailable
from server.jobs.outcome import Ended, Status
from server.store.threads import StoreThreads

_ARN: Final = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]*):[0-9]{12}:[a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Topic:
    """An SNS topic."""

    arn: str
    region: str

    @classmethod
    def read(cls, arn: str) -> Self:
        """Read a topic's ARN. Raises ValueError for anything else."""
        found = _ARN.fullmatch(arn)
        if found is None:
            raise ValueError(f"{arn!r} is not an SNS topic; write arn:aws:sns:REGION:ACCOUNT:NAME")
        return cls(arn, found[1])


class Silence:
    """No topic is set."""

    async def tell(self, ended: Ended) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class SnsTopics:
    """Publishes on one topic for results, and on one for failures; either may be missing."""

    def __init__(
        self, client: Callable[[str], Any], success: Topic | None, error: Topic | None, threads: StoreThreads
    ) -> None:
        """`client` makes an SNS client for a region."""
        topics = {topic for topic in (success, error) if topic is not None}
        self._clients = {topic.region: client(topic.region) for topic in topics}
        self._success = success
        self._error = error
        self._threads = threads

    async def tell(self, ended: Ended) -> None:
        """See Notifier."""
        topic = self._success if ended.outcome.status is Status.COMPLETED else self._error
        if topic is not None:
            await self._threads.check(self._publish, topic, message(ended, topic.region))

    def close(self) -> None:
        """See Notifier."""
        for client in self._clients.values():
            client.close()

    def _publish(self, topic: Topic, text: str) -> None:
        try:
            self._clients[topic.region].publish(TopicArn=topic.arn, Message=text)
        except (BotoCoreError, ClientError, OSError) as error:
            raise StoreUnavailable(f"{topic.arn} cannot be published to: {error}") from error


def message(ended: Ended, region: str) -> str:
    """Write the message about a job: one JSON object."""
    job, outcome = ended.job, ended.outcome
    is_completed = outcome.status is Status.COMPLETED
    asked = {
        "contentType": job.content_type,
        "accept": job.accept,
        "customAttributes": job.custom_attributes,
        "endpointName": job.endpoint,
        "inputLocation": job.input,
    }
    fields = {
        "awsRegion": region,
        "eventTime": _time(ended.ended_at),
        "receivedTime": _time(job.accepted_at),
        "invocationStatus": outcome.status.value,
        **({} if is_completed else {"failureReason": outcome.reason}),
        "requestParameters": {name: value for name, value in asked.items() if value},
        "responseParameters": {
            "contentType": outcome.content_type,
            "outputLocation" if is_completed else "failureLocation": ended.written,
        },
        "inferenceId": job.inference_id,
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    return json.dumps(fields)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
