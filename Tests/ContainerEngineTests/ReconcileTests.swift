import Glibc
import LaunchPlan
import LinuxKernel
import StrictJSON
import Testing

@testable import ContainerEngine

func runtimeState(_ status: RuntimeState.Status, exitCode: Int32 = 0, pid: Int32 = 0, startTicks: UInt64 = 0) -> RuntimeState {
    RuntimeState(
        status: status, pid: pid, pidStartTicks: startTicks, monitorPid: 0, monitorStartTicks: 0, startedAt: 1_000_000_000,
        finishedAt: status == .exited ? 2_000_000_000 : 0, exitCode: exitCode, oomKilled: false, cgroupPaths: [], outcomes: [],
        bootID: Engine.bootID(), ipAddress: nil)
}

@Suite("Reconciliation")
struct ReconcileTests {
    private func make(_ engine: Engine, _ row: ContainerRecord, state: RuntimeState? = nil) throws -> ContainerDirectory {
        _ = try engine.database.insert(row, ranges: nil)
        let directory = engine.root.container(row.id)
        try retrying("mkdir") { mkdir(directory.path, 0o700) }
        let lock = try ContainerLock.take(directory.lock, create: true)
        let isTaken = lock != nil
        try #require(isTaken)
        if let state { try replaceFile(directory.state, with: try StrictJSONEncoder().encode(state)) }
        return directory
    }

    @Test func aKilledCreateLeavesNothing() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        let directory = try make(engine, try record("a", name: "a", phase: .creating))
        #expect(try engine.containers().isEmpty)
        #expect(access(directory.path, F_OK) != 0)
        #expect(try engine.database.containers().isEmpty)
    }

    @Test func aRowWithoutADirectoryGoes() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        _ = try engine.database.insert(try record("a", name: "a", phase: .launching), ranges: nil)
        #expect(try engine.containers().isEmpty)
        #expect(try engine.database.containers().isEmpty)
    }

    @Test func aRowThatWasJustMadeIsGivenTime() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        var row = try record("a", name: "a", phase: .creating)
        row.created = nanosecondsNow()
        _ = try engine.database.insert(row, ranges: nil)
        #expect(try engine.containers().map(\.status) == [.creating])
    }

    @Test func whoHoldsTheLockIsLeftAlone() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        let directory = try make(engine, try record("a", name: "a", phase: .creating))
        let lock = try ContainerLock.take(directory.lock)
        let isTaken = lock != nil
        try #require(isTaken)
        #expect(try engine.containers().map(\.status) == [.creating])
        _ = consume lock
        #expect(try engine.containers().isEmpty)
    }

    @Test func aRunThatNeverRanGoes() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        _ = try make(engine, try record("a", name: "a", phase: .launching))
        #expect(try engine.containers().isEmpty)
    }

    @Test func aStartThatNeverRanIsCreatedAgain() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        _ = try make(engine, try record("a", name: "a", phase: .started))
        #expect(try engine.containers().map(\.status) == [.created])
        #expect(try engine.database.containers().map(\.phase) == [.created])
    }

    @Test func aLostMonitorIsSaidSo() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        _ = try make(engine, try record("a", name: "a", phase: .launching), state: runtimeState(.running))
        let container = try #require(try engine.containers().first)
        guard case .lost = container.status else {
            Issue.record("the status is \(container.status)")
            return
        }
        #expect(ContainerListing(container).status == "Exited (monitor lost, code unknown)")
        #expect(ContainerListing(container).state == "exited")
        // And it stays so.
        let again = try #require(try engine.containers().first)
        #expect(again.status == container.status)
    }

    @Test func anEndedContainerKeepsItsCode() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        _ = try make(engine, try record("a", name: "a", phase: .started), state: runtimeState(.exited, exitCode: 7))
        #expect(try engine.containers().map(\.status.exitCode) == [7])
    }

    @Test func anEndedContainerThatRemovesItselfGoes() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        let row = try record("a", name: "a", phase: .launching, autoRemove: true)
        let directory = try make(engine, row, state: runtimeState(.exited))
        #expect(try engine.containers().isEmpty)
        #expect(access(directory.path, F_OK) != 0)
    }

    @Test func leftoverProcessesAreKilled() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        let child = try SpawnedProcess.start("/bin/sleep", ["sleep", "1000"])
        let ticks = try #require(try Processes.startTicks(of: child.pid))
        _ = try make(engine, try record("a", name: "a", phase: .started), state: runtimeState(.running, pid: child.pid, startTicks: ticks))
        _ = try engine.containers()
        #expect(try child.wait() == .signalled(SIGKILL))
    }

    @Test func aProcessWithAUsedAgainNumberIsSpared() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        let child = try SpawnedProcess.start("/bin/sleep", ["sleep", "1000"])
        let ticks = try #require(try Processes.startTicks(of: child.pid))
        let state = runtimeState(.running, pid: child.pid, startTicks: ticks + 1)
        _ = try make(engine, try record("a", name: "a", phase: .started), state: state)
        _ = try engine.containers()
        #expect(kill(child.pid, 0) == 0)
        try child.killAndWait()
    }

    @Test func aDirectoryWithoutARowGoes() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        let directory = root.root.container(String(repeating: "f", count: 64))
        try retrying("mkdir") { mkdir(directory.path, 0o700) }
        try replaceFile(directory.state, with: Array("{}".utf8))
        #expect(try engine.containers().isEmpty)
        #expect(access(directory.path, F_OK) != 0)
    }

    @Test func removingARunningContainerNeedsForce() throws {
        let root = try TemporaryRoot()
        let engine = try root.engine()
        let directory = try make(engine, try record("a", name: "web", phase: .started), state: runtimeState(.running))
        let lock = try ContainerLock.take(directory.lock)
        let error = #expect(throws: EngineError.self) { try engine.remove("web", force: false, volumes: false) }
        #expect(error?.summary == "cannot remove container \"/web\": container is running")
        _ = consume lock
    }

    @Test func aLockIsSeenByOthers() throws {
        let root = try TemporaryRoot()
        let path = root.root.path + "/lock"
        let lock = try ContainerLock.take(path, create: true)
        let isTaken = lock != nil
        try #require(isTaken)
        #expect(try ContainerLock.isHeld(path))
        let second = try ContainerLock.take(path)
        let isRefused = second == nil
        #expect(isRefused)
        _ = consume lock
        #expect(try !ContainerLock.isHeld(path))
        #expect(try !ContainerLock.isHeld(path + ".none"))
    }
}
