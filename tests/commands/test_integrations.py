"""brex-accounting integrations, over real sockets."""

import json
import signal
import time

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.support.commands import World, ended, normal


def test_the_life_of_an_integration(world: World, snapshot: SnapshotAssertion) -> None:
    created = world.run("integrations", "create", "ERP_A", "acct-42")
    integration_id = created.out.split()[1]
    steps = (
        ("create", "ERP_A", "acct-42", "--json"),
        ("create", "ERP_B", "acct-42"),
        ("ensure", "ERP_A", "acct-43"),
        ("disconnect", integration_id),
        ("disconnect", integration_id),
        ("disconnect", integration_id, "--ensure"),
        ("reactivate", integration_id),
        ("reactivate", integration_id),
        ("reactivate", integration_id, "--ensure"),
        ("ensure", "ERP_B", "acct-42", "--replace", "--json"),
        ("reactivate", integration_id),
        ("disconnect", "int_unknown"),
    )
    told = [created, *(world.run("integrations", *arguments) for arguments in steps)]
    assert [each.code for each in told] == [0, 0, 3, 3, 0, 3, 0, 0, 3, 0, 0, 3, 3]
    assert normal("\n".join(each.out + each.err for each in told)) == snapshot
    active = world.sandbox.state.active_integration
    assert active is not None
    assert (active.vendor, json.loads(told[10].out)["id"]) == ("ERP_B", active.id)


def test_a_doubt_is_settled_with_the_key(world: World) -> None:
    world.fault("reset_after", times=4, operation="createIntegration")
    lost = world.run("integrations", "create", "ERP_A", "a")
    assert lost.code == 5
    assert "It may have been applied: to find out, repeat the command with --idempotency-key '" in lost.problem
    key = lost.problem.split("'")[1]
    found = world.run("integrations", "create", "ERP_A", "a", "--idempotency-key", key, "--json")
    assert (found.code, found.err) == (0, "")
    assert [json.loads(found.out)["id"]] == list(world.sandbox.state.integrations)
    assert {request.idempotency_key for request in world.sandbox.requests} == {key}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(world: World, number: signal.Signals) -> None:
    world.fault("delay", seconds=60, applied=True)
    with world.process("integrations", "create", "ERP_A", "a") as process:
        while not world.sandbox.state.integrations:
            time.sleep(0.01)
        process.send_signal(number)
        interrupted = ended(process)
    key = world.sandbox.requests[0].idempotency_key
    assert (interrupted.code, interrupted.out) == (130, "")
    assert interrupted.problem == (
        f"interrupted: it may have been applied. To find out, repeat the command with --idempotency-key {key}."
    )


def test_ensure_takes_no_key(world: World) -> None:
    refused = world.run("integrations", "disconnect", "int_1", "--ensure", "--idempotency-key", "k")
    assert (refused.code, "leave it out" in refused.problem) == (2, True)
    assert not world.sandbox.requests
