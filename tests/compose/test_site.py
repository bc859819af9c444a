"""The site as the world has it, what its parts may do, and that it goes on without one of them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.compose.site import COMPOSE_FILE, Site
from tests.image.engine import ROOT, docker, tried
from tests.support import until

pytestmark = pytest.mark.timeout(1800)

SERVICES = {"caddy", "control-plane-1", "control-plane-2", "node", "postgres", "redis"}


def heard(answer: httpx.Response) -> dict[str, Any]:
    """What the stand-in for the control plane was sent."""
    assert answer.status_code == 200, answer
    said = answer.json()
    assert isinstance(said, dict)
    return said


def asked(site: Site, target: str) -> int:
    """How often one of the control planes was asked for it."""
    said = [docker("logs", name) for service, name in site.containers().items() if service.startswith("control-plane")]
    return sum(log.count(target) for log in said)


def both_serve(site: Site) -> None:
    """Waits until answers come of both control planes."""
    came: set[str] = set()
    with site.client() as client:

        def came_of_both() -> bool | None:
            answer = client.get("/healthz")
            came.update({answer.json()["server"]} if answer.status_code == 200 else ())
            return len(came) == 2 or None

        until(came_of_both, "both control planes")


def test_everything_becomes_healthy(site: Site) -> None:
    def healthy() -> set[str]:
        states = {service: site.facts(name)["State"] for service, name in site.containers().items()}
        return {service for service, state in states.items() if state.get("Health", {}).get("Status") == "healthy"}

    # The node's stand-in has no health; a control plane that another test has just taken away needs a moment.
    until(lambda: healthy() == SERVICES - {"node"} or None, "all of the site to be healthy")


def test_it_answers_over_https_to_who_trusts_its_own_authority_and_to_nobody_else(site: Site) -> None:
    with site.client() as client:
        answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=63072000"
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(f"{site.url}/healthz", trust_env=False)


def test_with_an_email_address_a_public_authority_is_asked_and_for_nothing_but_the_site(images: None) -> None:
    settings = ["--env", "SITE=nodes.example.com", "--env", "TLS=you@example.com", "--env", "HTTPS_PORT=443"]
    mount = f"{ROOT / 'build/Caddyfile'}:/etc/caddy/Caddyfile:ro"
    [caddy] = re.findall(r"^ +image: (caddy:\S+)$", COMPOSE_FILE.read_text(), re.MULTILINE)
    words = ["caddy", "adapt", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    adapted = json.loads(docker("run", "--rm", "--network", "none", "--volume", mount, *settings, caddy, *words))
    issuers = {
        subject: {(issuer["module"], issuer.get("email")) for issuer in policy["issuers"]}
        for policy in adapted["apps"]["tls"]["automation"]["policies"]
        for subject in policy["subjects"]
    }
    assert ("acme", "you@example.com") in issuers["nodes.example.com"]
    assert issuers["caddy"] == {("internal", None)}


def test_plain_http_is_sent_to_https_on_the_port_that_it_has(site: Site) -> None:
    answer = httpx.get(f"http://localhost:{site.http_port}/v1/enroll/salt?a=b", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"{site.url}/v1/enroll/salt?a=b")


def test_what_the_server_does_not_have_never_reaches_it(site: Site) -> None:
    with site.client() as client:
        assert client.get("/readyz").status_code == 404
        assert client.get("/v1/else").status_code == 404
    assert asked(site, "/v1/else") == 0


def test_a_strangers_word_on_where_it_comes_from_is_not_passed_on(site: Site) -> None:
    with site.client() as client:
        said = heard(client.get("/healthz", headers={"x-forwarded-for": "192.0.2.66"}))
    told = [value for name, value in said["headers"] if name == "x-forwarded-for"]
    assert len(told) == 1
    assert "192.0.2.66" not in told[0]


def test_a_poll_that_is_held_for_its_longest_is_answered(site: Site) -> None:
    with site.client() as client:
        assert heard(client.post("/v1/sync?held=26", content=b"{}"))["bytes"] == 2


def test_a_post_that_may_have_been_taken_is_not_made_again(site: Site) -> None:
    with site.client() as client:
        answer = client.post("/v1/sync?end&taken", content=b"{}")
    assert answer.status_code == 502
    assert asked(site, "/v1/sync?end&taken") == 1
    # it was restarted, and is there again
    both_serve(site)


def test_a_body_larger_than_the_server_takes_is_cut_off(site: Site) -> None:
    with site.client() as client:
        assert heard(client.post("/v1/sync", content=bytes(2**20)))["bytes"] == 2**20
        with suppress(httpx.HTTPError):
            assert client.post("/v1/sync", content=bytes(2**21 + 1)).status_code != 200


def test_who_breaks_requests_off_takes_no_control_plane_out(site: Site) -> None:
    both_serve(site)
    with site.client() as client:
        for _ in range(6):
            with suppress(httpx.HTTPError):
                client.post("/v1/sync", content=bytes(2**21 + 1))
            # within less than a control plane that is taken for dead is waited for
            assert client.post("/v1/sync", timeout=3).status_code == 200


def test_one_control_plane_is_enough(site: Site) -> None:
    both_serve(site)
    one = site.containers()["control-plane-1"]
    docker("kill", one)
    try:
        with site.client() as client:
            # a POST that reached nobody was not made, and goes to the other one
            answers = [client.request(method, "/v1/sync") for method in ("POST", "GET") for _ in range(10)]
        assert [answer.status_code for answer in answers] == [200] * 20
    finally:
        docker("start", one)
    both_serve(site)


def test_each_part_runs_as_nobody_with_next_to_nothing(site: Site) -> None:
    for service, name in site.containers().items():
        facts = site.facts(name)
        host = facts["HostConfig"]
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        assert host["CapAdd"] in (None, ["NET_BIND_SERVICE"] if service == "caddy" else []), service
        assert host["SecurityOpt"] == ["no-new-privileges:true"], service
        assert host["Init"], service
        assert min(host["Memory"], host["PidsLimit"], host["NanoCpus"]) > 0, service
        assert host["RestartPolicy"]["Name"] == "unless-stopped", service
        assert host["LogConfig"]["Config"]["max-size"], service
        assert not host["Privileged"], service
        writable = {mount["Destination"] for mount in facts["Mounts"] if mount["RW"]}
        assert writable <= {"/data", "/var/lib/postgresql/data"}, service
        users = docker("top", name, "-eo", "pid,uid,args").splitlines()[1:]
        assert users, service
        assert not [line for line in users if line.split()[1] == "0"], service


def test_no_secret_is_seen_from_outside_the_container_that_has_it(site: Site) -> None:
    secrets = {path.name: path.read_text() for path in site.secrets.iterdir() if path.name != "ca.crt"}
    made = {"master_key", "database_password", "superuser_password", "redis_password", "vault_key"}
    assert set(secrets) == made
    assert site.secrets.stat().st_mode & 0o777 == 0o700
    seen = [site.compose("logs"), site.compose("config")]
    for name in site.containers().values():
        seen += [json.dumps(site.facts(name)), docker("top", name, "-eo", "pid,args")]
    assert not [name for name, value in secrets.items() for text in seen if value in text]
    has = {
        service: sorted(mount["Destination"] for mount in site.facts(name)["Mounts"] if "/secrets/" in mount["Source"])
        for service, name in site.containers().items()
    }
    assert has == {
        "caddy": [],
        "control-plane-1": (
            both := [f"/run/secrets/{name}" for name in ("database_password", "master_key", "redis_password")]
        ),
        "control-plane-2": both,
        "node": ["/etc/site-ca.crt", "/run/secrets/vault_key"],
        "postgres": ["/run/secrets/database_password", "/run/secrets/superuser_password"],
        "redis": ["/run/secrets/redis_password"],
    }


def test_redis_asks_for_its_password_keeps_what_it_has_and_puts_nothing_out(site: Site) -> None:
    redis = site.containers()["redis"]
    assert "NOAUTH" in docker("exec", redis, "redis-cli", "get", "a")
    asking = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli config get '
    settings = {
        name: docker("exec", redis, "sh", "-c", asking + name).split()[-1]
        for name in ("maxmemory", "maxmemory-policy", "appendonly", "appendfsync")
    }
    assert settings == {
        "maxmemory": str(128 * 2**20),
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
        "appendfsync": "everysec",
    }


def test_postgresql_lets_in_the_control_planes_role_by_its_password_and_no_superuser(site: Site) -> None:
    postgres = site.containers()["postgres"]
    [address] = [network["IPAddress"] for network in site.facts(postgres)["NetworkSettings"]["Networks"].values()]

    def asked(role: str, database: str, password: str) -> tuple[int, str]:
        done = tried(
            *("exec", "--env", f"PGPASSWORD={password}", postgres, "psql", "--no-password", "--host", address),
            *("--username", role, "--dbname", database, "--tuples-only", "--no-align"),
            *(
                "--command",
                "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user",
            ),
        )
        return done.returncode, done.stdout.strip() or done.stderr

    password = (site.secrets / "database_password").read_text()
    assert asked("control_plane", "control_plane", password) == (0, "f")
    for role, database, word in (
        ("control_plane", "control_plane", "another"),
        ("control_plane", "postgres", password),
        ("postgres", "postgres", password),
    ):
        code, said = asked(role, database, word)
        assert code != 0, role
        assert "authentication failed" in said or "permission denied" in said
