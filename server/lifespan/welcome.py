"""What the server prints once it is ready: where it is, and what to try next."""

from collections.abc import Mapping, Sequence

from server.domain.model import CPU, Device

_SHOWN = 6
_EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104 - only compared


def welcome(
    host: str,
    port: int,
    archives: Sequence[str],
    default_model: str | None,
    took_s: float,
    engine: str,
    budgets: Mapping[Device, int],
) -> str:
    """Text for a terminal. `archives` can be asked for; one of them is used in the examples. `budgets` are bytes."""
    url = f"http://{'localhost' if host in _EVERYWHERE else host}:{port}"
    named = next((name for name in archives if name.startswith("minilm.")), archives[0] if archives else "NAME")
    header = "" if default_model else f"-H 'X-Amzn-SageMaker-Target-Model: {named}' "
    more = f" and {len(archives) - _SHOWN} more" if len(archives) > _SHOWN else ""
    listed = ", ".join(archives[:_SHOWN]) or "none yet: put some into the store, or LOAD them with POST /models"
    body = '{"inputs": ["hello world"]}'
    lines = (
        f"Roundhouse is ready on {url} after {took_s:.1f} s",
        f"  engine     {engine}; archives may take {_rooms(budgets)}",
        f"  archives   {listed}{more}",
        f"  curl       curl -s {url}/invocations {header}-H 'Content-Type: application/json' -d '{body}'",
        f"  boto3      boto3.client('sagemaker-runtime', endpoint_url='{url}', region_name='us-east-1')",
        f"             .invoke_endpoint(EndpointName='any', TargetModel='{named}', Body='{body}')",
        f"  see        {url}/admin/residency   {url}/metrics   {url}/docs",
        "  stop       Ctrl-C: running requests finish first",
    )
    return "\n".join(lines)


def _rooms(budgets: Mapping[Device, int]) -> str:
    names = {CPU: "memory"}
    return ", ".join(f"{_size(amount)} of {names.get(device, device)}" for device, amount in budgets.items())


def _size(amount: int) -> str:
    return f"{amount / 1024**3:.1f} GiB" if amount >= 1024**3 else f"{amount / 1024**2:.0f} MiB"
