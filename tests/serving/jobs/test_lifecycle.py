"""What the status of a pending job says."""

from sqlmodel import Session

from serving.exports.schemas import ExportStatus
from serving.jobs.lifecycle import message_of, with_messages
from storage.job_queue import next_turn
from storage.jobs import ExportJob, new_job_id


def add(session: Session, tenant_id: str) -> ExportJob:
    turn = next_turn(session, tenant_id)
    job = ExportJob(job_id=new_job_id(ExportJob), tenant_id=tenant_id, device_id="D1", turn=turn)
    session.add(job)
    session.commit()
    return job


def test_a_pending_job_says_what_it_waits_for(session: Session) -> None:
    """Jobs of the night are nobody's turn."""
    first, second, third = [add(session, "acme") for _ in range(3)]
    assert message_of(session, first) == "Waits to be started; no other job comes before it."
    assert message_of(session, second) == "Waits for its turn: 1 job waits before it."
    assert message_of(session, third) == "Waits for its turn: 2 jobs wait before it."
    session.add(ExportJob(job_id="export-night", device_id="D1", status="running"))
    first.status, first.message = "running", "Reading"
    session.commit()
    assert message_of(session, first) == "Reading"
    assert message_of(session, second) == "Waits for its turn: 1 job is running, and this one is next."
    assert message_of(session, third) == "Waits for its turn: 1 job is running, and 1 job waits before it."
    jobs = [second, first, third]
    states = with_messages(session, jobs, [ExportStatus.of_job(job) for job in jobs])
    assert [state.message for state in states] == [message_of(session, job) for job in jobs]
    assert message_of(session, add(session, "beta")) == "Waits for its turn: 1 job is running, and this one is next."
