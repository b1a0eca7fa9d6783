"""SageMaker: the container contract (single and multi-model) and the runtime API."""
