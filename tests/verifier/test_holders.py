"""Lives of a node's state, as hypothesis finds them: one holder that has all the bad luck there is, and several holders
of one state that copy, restart, restore and move. Pure, and so by the ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from node_protocol import fingerprints
from node_protocol.messages import SyncRequest, validate
from node_protocol.refusals import Code
from tests.verifier.nodes import FIRST_TICKET, HOME, NOW, Node, nonce, other_machine
from verifier.clones import Continuity, Decision, decide
from verifier.node_state import NodeState, enrolled, let_move

MACHINES = (
    dict(HOME),
    {**HOME, "boot": "n" * 22},
    other_machine("machine_id", "storage"),
    other_machine("machine_id", "storage", "disk", "memory"),
)


@dataclass(frozen=True)
class Packet:
    """A request on its way."""

    message: SyncRequest
    created: int
    first_of_its_process: bool


def judged(state: NodeState, packet: Packet, now: int) -> Decision:
    return decide(state, packet.message, created=packet.created, ticket_random=nonce(), now=now)


class OneHolder(RuleBasedStateMachine):
    """Answers are lost, packets come late or never, the process dies at any moment, parts of the machine are exchanged.

    Its clock may be off by a minute and a half. It is never suspended, and is never told that its ticket is void.
    """

    @initialize(off=st.integers(-90, 90))
    def begin(self, off: int) -> None:
        self.node = Node(session="0" * 22)
        self.state = enrolled(FIRST_TICKET, HOME)
        self.now, self.off = NOW, off
        self.on_the_way: list[Packet] = []
        self.restarts = 0
        self.odd: list[int] = []

    def signed(self) -> Packet:
        # Whoever signs twice within a second has the same time in both; a node waits before it tries again.
        self.now += 1
        first = self.node.request == 0
        return Packet(validate(SyncRequest, self.node.message()), self.now + self.off, first)

    @rule(answered=st.booleans(), seconds=st.integers(0, 60))
    def syncs(self, answered: bool, seconds: int) -> None:
        self.now += seconds
        decision = judged(self.state, self.signed(), self.now)
        assert decision.refusal is None
        assert decision.verdict.continuity in (Continuity.CONTINUES, Continuity.RETRIES)
        self.state = decision.state
        if answered:
            self.node.ticket = decision.state.issued

    @rule()
    def a_request_is_held_up(self) -> None:
        self.on_the_way.append(self.signed())

    @rule(data=st.data())
    def one_that_was_held_up_comes(self, data: st.DataObject) -> None:
        """Its answer reaches nobody: the node has given it up."""
        self.on_the_way = [each for each in self.on_the_way if abs(self.now - each.created) <= 120]
        if not self.on_the_way:
            return
        packet = data.draw(st.sampled_from(self.on_the_way))
        if packet.first_of_its_process:
            # Of a process that nobody has heard of there is no telling whether it was this node's: two such are borne.
            self.odd = [at for at in self.odd if self.now - at <= 120]
            if len(self.odd) >= 2:
                return
            self.odd.append(self.now)
        self.on_the_way.remove(packet)
        decision = judged(self.state, packet, self.now)
        assert decision.refusal is None or decision.refusal.code is Code.SUPERSEDED
        if decision.refusal is not None:
            assert decision.state.issued == self.state.issued
        self.state = decision.state

    @rule()
    def dies_and_starts_again(self) -> None:
        self.restarts += 1
        self.node.session, self.node.request = f"{self.restarts:022}", 0

    @rule(machine=st.sampled_from(MACHINES))
    def a_part_is_exchanged_while_it_is_off(self, machine: dict[str, str]) -> None:
        self.dies_and_starts_again()
        known = (self.state.baseline.components, self.state.machine.components, self.node.machine)
        if all(fingerprints.compare(each, machine).score >= fingerprints.DRIFT for each in known):
            self.node.machine = machine

    @rule()
    def moves_and_the_operator_approves(self) -> None:
        """What was on its way from the old machine then is not delivered: that machine is gone."""
        self.dies_and_starts_again()
        self.on_the_way.clear()
        self.node.machine = dict.fromkeys(HOME, f"{self.restarts:022}")
        refused = judged(self.state, self.signed(), self.now)
        assert refused.refusal is not None
        assert refused.refusal.code is Code.FINGERPRINT_MISMATCH
        assert refused.state == self.state
        self.state = let_move(self.state, fingerprints.digest(self.node.machine))

    @invariant()
    def is_not_suspended(self) -> None:
        assert self.state.suspended_at is None


@dataclass(eq=False)
class Holder:
    """Somebody who goes on from a node's state."""

    node: Node
    heard: int = 0
    """Answers that have reached it since it came to be."""
    backups: list[str] = field(default_factory=list)


class ManyHolders(RuleBasedStateMachine):
    """Copies of a node's disk, of its memory, and of its backups, on the same machine and on others."""

    holders = Bundle("holders")

    @initialize(target=holders)
    def begin(self) -> Holder:
        self.state = enrolled(FIRST_TICKET, HOME)
        self.now = NOW
        self.sessions = 0
        self.spoke: list[Holder] = []
        self.tickets = {FIRST_TICKET}
        return Holder(Node(session=self.new_session()))

    def new_session(self) -> str:
        self.sessions += 1
        return f"{self.sessions:022}"

    @rule(target=holders, of=holders, live=st.booleans(), machine=st.sampled_from(MACHINES))
    def is_copied(self, of: Holder, live: bool, machine: dict[str, str]) -> Holder:
        self.spoke.clear()
        one = of.node
        if live:
            return Holder(Node(ticket=one.ticket, session=one.session, request=one.request, machine=one.machine))
        return Holder(Node(ticket=one.ticket, session=self.new_session(), machine=machine))

    @rule(target=holders, of=holders)
    def an_older_backup_of_it_is_started(self, of: Holder) -> Holder:
        self.spoke.clear()
        ticket = of.backups[0] if of.backups else of.node.ticket
        return Holder(Node(ticket=ticket, session=self.new_session(), machine=of.node.machine))

    @rule(target=holders)
    def a_stranger_has_the_key_alone(self) -> Holder:
        return Holder(Node(ticket=f"{self.sessions}." + nonce(), session=self.new_session()))

    @rule(target=holders, holder=consumes(holders))
    def is_gone(self, holder: Holder) -> object:
        return multiple() if holder.heard else multiple(holder)

    @rule(holder=holders)
    def backs_up(self, holder: Holder) -> None:
        holder.backups.append(holder.node.ticket)

    @rule(holder=holders)
    def restarts(self, holder: Holder) -> None:
        holder.node.session, holder.node.request = self.new_session(), 0

    @rule(holder=holders, answered=st.booleans(), seconds=st.integers(0, 30), behind=st.integers(0, 3))
    def syncs(self, holder: Holder, answered: bool, seconds: int, behind: int) -> None:
        self.now += seconds
        before, ticket = self.state, holder.node.ticket
        message = validate(SyncRequest, holder.node.message())
        decision = judged(before, Packet(message, self.now - behind, False), self.now)
        self.state = decision.state
        if before.suspended_at is not None:
            assert decision.refusal is not None
            assert decision.refusal.code is Code.SUSPENDED
        if decision.refusal is not None:
            assert decision.state.issued == before.issued, "a refusal moves no ticket"
            if ticket not in (before.issued, before.shown) and before.suspended_at is None:
                assert decision.suspends or decision.refusal.code is Code.SUPERSEDED
            return
        assert ticket in (before.issued, before.shown)
        assert decision.state.issued not in self.tickets, "no ticket is issued twice"
        self.tickets.add(decision.state.issued)
        if answered:
            holder.node.ticket = decision.state.issued
            holder.heard += 1
            self.spoke.append(holder)

    @invariant()
    def nobody_goes_on_after_another_has(self) -> None:
        """Since the last copy was made: of those whose answers arrive, none is accepted again once another was."""
        turns = [who for number, who in enumerate(self.spoke) if number == 0 or self.spoke[number - 1] is not who]
        assert len(turns) == len(set(map(id, turns)))


OneHolder.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
ManyHolders.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestOneHolder = OneHolder.TestCase
TestManyHolders = ManyHolders.TestCase
