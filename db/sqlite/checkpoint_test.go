package sqlite

import "testing"

// A passive checkpoint beside the writer reports what is in the WAL and what it copied; a reader holds it back.
func TestPassiveCheckpoint(t *testing.T) {
	path := tempFile(t)
	writer := mustOpen(t, path, WriterOptions(NewClock()))
	checkpointer := mustOpen(t, path, CheckpointOptions())
	mustExec(t, writer, "CREATE TABLE t(a); INSERT INTO t VALUES (1)")
	log, done, err := checkpointer.WALCheckpointPassive()
	if err != nil || log == 0 || done != log {
		t.Fatalf("got %d of %d frames, %v; want all", done, log, err)
	}
	reader := mustOpen(t, path, ReaderOptions())
	mustExec(t, writer, "INSERT INTO t VALUES (2)")
	mustExec(t, reader, "BEGIN; SELECT * FROM t")
	mustExec(t, writer, "INSERT INTO t VALUES (randomblob(50000))")
	log, done, err = checkpointer.WALCheckpointPassive()
	if err != nil || done >= log || done == 0 {
		t.Errorf("beside a reader: got %d of %d frames, %v; want a part", done, log, err)
	}
	_, _, err = writer.WALCheckpoint(CheckpointTruncate)
	wantCode(t, "truncating beside a reader", err, CodeBusy)
	mustExec(t, reader, "COMMIT")
	if log, done, err = writer.WALCheckpoint(CheckpointTruncate); err != nil || log != 0 || done != 0 {
		t.Errorf("truncating: got %d of %d frames, %v; want an empty WAL", done, log, err)
	}
	if log, _, err := memory(t).WALCheckpointPassive(); err != nil || log != -1 {
		t.Errorf("without a WAL: got %d frames, %v; want -1", log, err)
	}
}
