"""The workspaces' network: a bridge on which nobody reaches anybody, and the host's rules around it.

The rules are set by a short-lived container in the host's network namespace, so that the provisioner itself needs
no right to change them: `firewall check BRIDGE SUBNET` exits 0 where they are in place, `apply` puts them there.
"""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Network

import docker
from docker.errors import APIError, NotFound

from services.provisioner.engine import NetworkDiffers, Unprotected

ROLE = "youarecoder.role"
PATIENCE = 60
"""Seconds the rules' container may take."""


class IsolatedNetwork:
    """One network with its rules."""

    def __init__(self, name: str, bridge: str, subnet: IPv4Network, firewall: str, labels: dict[str, str]) -> None:
        self._name = name
        self._bridge = bridge
        self._subnet = subnet
        self._firewall = firewall
        self._labels = labels

    def ensure(self, client: docker.APIClient) -> None:
        """Network and rules are in place when this returns.

        Raises Unprotected, NetworkDiffers, or what Docker raises (ImageNotFound where the rules' image is missing).
        """
        self._ensure_network(client)
        self._remove_leftovers(client)
        if self._run(client, "check") != 0 and (code := self._run(client, "apply")) != 0:
            raise Unprotected(f"the firewall's container ended with {code}")

    def remove(self, client: docker.APIClient) -> None:
        """Takes rules and network away; what is still connected keeps the network."""
        self._run(client, "remove")
        with contextlib.suppress(NotFound):
            client.remove_network(self._name)

    def _ensure_network(self, client: docker.APIClient) -> None:
        try:
            there = client.inspect_network(self._name)
        except NotFound:
            self._create(client)
            there = client.inspect_network(self._name)
        subnets = [pool.get("Subnet") for pool in there["IPAM"]["Config"] or []]
        options = there["Options"] or {}
        if (
            subnets != [str(self._subnet)]
            or options.get("com.docker.network.bridge.name") != self._bridge
            or options.get("com.docker.network.bridge.enable_icc") != "false"
        ):
            raise NetworkDiffers(f"network {self._name} has {subnets} and {options}")

    def _create(self, client: docker.APIClient) -> None:
        try:
            client.create_network(
                self._name,
                driver="bridge",
                options={
                    "com.docker.network.bridge.name": self._bridge,
                    "com.docker.network.bridge.enable_icc": "false",
                },
                ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=str(self._subnet))]),
                check_duplicate=True,
                labels=self._labels,
            )
        except APIError as error:
            if error.status_code != 409:  # another replica was faster
                raise

    def _run(self, client: docker.APIClient, action: str) -> int:
        """Runs the rules' container; its exit code."""
        arguments = [action, self._bridge] if action == "remove" else [action, self._bridge, str(self._subnet)]
        made = client.create_container(
            self._firewall,
            command=arguments,
            labels={**self._labels, ROLE: "firewall"},
            host_config=client.create_host_config(
                network_mode="host",
                cap_drop=["ALL"],
                cap_add=["NET_ADMIN", "NET_RAW"],
                security_opt=["no-new-privileges"],
                read_only=True,
                tmpfs={"/run": "rw,noexec,nosuid,size=1m"},
            ),
        )
        try:
            client.start(made["Id"])
            return int(client.wait(made["Id"], timeout=PATIENCE)["StatusCode"])
        finally:
            with contextlib.suppress(NotFound):
                client.remove_container(made["Id"], force=True)

    def _remove_leftovers(self, client: docker.APIClient) -> None:
        """What a killed provisioner left: those that have ended."""
        labels = [f"{name}={value}" for name, value in {**self._labels, ROLE: "firewall"}.items()]
        for ended in client.containers(all=True, filters={"label": labels, "status": ["exited", "dead"]}):
            with contextlib.suppress(APIError):
                client.remove_container(ended["Id"], force=True)
