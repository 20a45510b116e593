package registry

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// TestKept: what was of use is there when the registry is away, for who asks by any of its URLs, and for nobody else.
func TestKept(t *testing.T) {
	ctx := t.Context()
	pool, err := pgxpool.New(ctx, testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	g := fake(t)
	of := func(urls ...string) *Registry {
		r, err := New(Config{URLs: urls}, InPostgres(pool), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ever := func(r *Registry, topic string, key bool) bool {
		t.Helper()
		ok, err := r.Ever(ctx, topic, key)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	r := of(g.URL())
	want, err := r.Schema(ctx, id(7)) // without the tables, too
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Learnt(ctx, "orders", false, id(7)); err == nil || !strings.Contains(err.Error(), "oncesink init") {
		t.Errorf("without the tables: got %v", err)
	}
	conn, err := pgx.Connect(ctx, pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	if err := errors.Join(offsets.Init(ctx, conn), schema.Init(ctx, conn, sink.Config{})); err != nil {
		t.Fatal(err)
	}
	if ever(r, "orders", false) {
		t.Error("a topic that nobody read was read")
	}
	for range 2 {
		if err := r.Learnt(ctx, "orders", false, id(7)); err != nil {
			t.Fatal(err)
		}
	}
	if !ever(r, "orders", false) || ever(r, "orders", true) || ever(r, "other", false) {
		t.Error("it is not known which topic was read")
	}
	if _, err := r.Schema(ctx, id(1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Learnt(ctx, "orders", false, id(1)); err != nil {
		t.Fatal(err)
	}
	if got, ref, ok, err := r.Kept(ctx, "orders", false); err != nil || !ok || ref != id(1) || got.Text != address {
		t.Errorf("the last one that is kept: got %v %v %v, %v", got, ref, ok, err)
	}
	if _, ref, ok, err := r.Kept(ctx, "orders", true); err != nil || ok {
		t.Errorf("of keys, which nobody read: got %v %v, %v", ref, ok, err)
	}
	g.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	again := of(dead.URL, g.URL()) // another URL came first
	got, err := again.Schema(ctx, id(7))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if !ever(again, "orders", false) {
		t.Error("with another URL it is forgotten which topic was read")
	}
	if _, err := again.Schema(ctx, id(8)); err == nil {
		t.Error("a schema that is not kept is there")
	}
	other := of(dead.URL)
	if _, err := other.Schema(ctx, id(7)); err == nil || ever(other, "orders", false) {
		t.Error("another registry's schema is taken")
	}
	if _, err := again.Schema(ctx, event.SchemaRef{Space: "contentId", ID: "7"}); err == nil {
		t.Error("another space's schema is taken")
	}
	pool.Close() // and the database is away, too
	if _, err := of(g.URL()).Schema(ctx, id(7)); err == nil || !strings.Contains(err.Error(), "reach the schema registry") {
		t.Errorf("got %v", err)
	}
}
