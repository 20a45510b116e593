package pgerr_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/pgerr"
)

// Messages as Citus 13.2 passes them on.
func TestOfShard(t *testing.T) {
	for _, c := range []struct{ code, message, routine, want string }{
		{"23514", `new row for relation "orders_102038" violates check constraint "positive"`, "ReportResultError", `23514 shop.orders "positive" "": new row for relation "orders" violates check constraint "positive"`},
		{"XX000", `null value in column "n" of relation "orders_102032" violates not-null constraint`, "ReportCopyError", `23502 shop.orders "" "n": null value in column "n" of relation "orders" violates not-null constraint`},
		{"XX000", `insert or update on table "orders_102039" violates foreign key constraint "to_p_102039"`, "ReportCopyError", `23503 shop.orders "to_p" "": insert or update on table "orders" violates foreign key constraint "to_p"`},
		{"23503", `update or delete on table "orders_102024" violates foreign key constraint "items_fkey_102032" on table "items_102032"`, "ReportResultError", `23503 .items "items_fkey" "": update or delete on table "orders_102024" violates foreign key constraint "items_fkey" on table "items"`},
		{"XX000", `duplicate key value violates unique constraint "orders_pkey_102049"`, "ReportCopyError", `23505 shop.orders "orders_pkey" "": duplicate key value violates unique constraint "orders_pkey"`},
		// Of a server without Citus, and what is no violation.
		{"23514", `new row for relation "orders_102038" violates check constraint "c_102038"`, "ExecConstraints", `23514 . "" "": new row for relation "orders_102038" violates check constraint "c_102038"`},
		{"XX000", `the node is gone`, "ReportCopyError", `XX000 . "" "": the node is gone`},
	} {
		err := &pgconn.PgError{Code: c.code, Message: c.message, Routine: c.routine}
		pgerr.OfShard(fmt.Errorf("write: %w", err), "shop", "orders")
		if got := fmt.Sprintf("%s %s.%s %q %q: %s", err.Code, err.SchemaName, err.TableName, err.ConstraintName, err.ColumnName, err.Message); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.message, got, c.want)
		}
	}
	err := &pgconn.PgError{Code: "XX000", Message: `null value in column "n" of relation "orders_102032" violates not-null constraint`, Routine: "ReportCopyError"}
	if pgerr.OfShard(err, "shop", "orders"); pgerr.Classify(err) != pgerr.Data {
		t.Errorf("class %v, want data", pgerr.Classify(err))
	}
}
