"""A counter for Prometheus: requests by outcome and reason. `Verifier(…, observe=RequestCounter())`."""

from __future__ import annotations

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter
except ModuleNotFoundError as error:
    raise ImportError("this needs prometheus-client: pip install 'trading-node[prometheus]'") from error

from verifier.observation import Observation


class RequestCounter:
    """`trading_node_requests_total{outcome, reason}` in a registry; both labels come from bounded sets."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._total = Counter(
            "trading_node_requests",
            "Requests judged by the verifier, by outcome (accepted, or the refusal's code) and finer reason.",
            ("outcome", "reason"),
            registry=registry,
        )

    def __call__(self, observation: Observation) -> None:
        """Counts one."""
        self._total.labels(str(observation.outcome), str(observation.reason)).inc()
