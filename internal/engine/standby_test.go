package engine

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/testpg"
)

// Rule 18: a standby, to which an address leads for a while, refuses to begin a transaction. That passes.
func TestStandbyIsWaitedFor(t *testing.T) {
	standby := testpg.Start(t).Backup().Standby()
	conn, err := pgx.Connect(t.Context(), standby.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), mapping.Settings{}.Begin(), pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		t.Fatal("a standby begins a transaction that writes")
	}
	if class, cause := pgerr.Classify(err), retryCause(err); class != pgerr.Transient || cause != "server" {
		t.Errorf("%v: %v, %q", err, class, cause)
	}
}
