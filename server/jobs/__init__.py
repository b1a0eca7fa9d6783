"""Work that is accepted now and answered later: SageMaker's InvokeEndpointAsync, over the one road of `serving`."""
