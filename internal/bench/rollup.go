package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/offsets"
)

// rolled are the rollups that are measured: by their groups.
var rolled = []struct{ name, groups string }{
	{"without a rollup", ""},
	{"one hot group", `{all_of_them: "order_id is not null"}`},
	{"1,000 groups", `{bucket: "order_id % 1000"}`},
}

// rollups is the plan of -rollups: what it costs to keep counts and sums beside the rows, with one writer and with
// four, and what it costs to recompute a group, by its size.
func (p plan) rollups(b *bench, first, again topic) []step {
	var out []step
	for _, writers := range []int{1, 4} {
		for _, r := range rolled {
			variant := fmt.Sprintf("%s, %d writer(s)", r.name, writers)
			out = append(out, step{name: variant, run: func(ctx context.Context) ([]result, error) {
				return b.oncesink(ctx, variant, options{limits: fmt.Sprintf("writers: %d", writers), rollup: r.groups}, false, first, again)
			}})
		}
	}
	for _, size := range []int{1_000, 10_000, 100_000} {
		out = append(out, step{name: fmt.Sprintf("recompute, groups of %d", size), run: func(ctx context.Context) ([]result, error) {
			return b.recompute(ctx, p.records, size)
		}})
	}
	return out
}

// verifyRollup has oncesink compare the rollup with the rows.
func (b *bench) verifyRollup(ctx context.Context, config, url string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "oncesink"), "rollup", "verify", "sales", "-c", config)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("oncesink rollup verify: %w\n%s", err, text)
	}
	return nil
}

// recompute times changes of single rows of groups of one size.
func (b *bench) recompute(ctx context.Context, rows, size int) ([]result, error) {
	url, conn, drop, err := b.database(ctx)
	if err != nil {
		return nil, err
	}
	defer drop()
	if err := offsets.Init(ctx, conn); err != nil {
		return nil, err
	}
	if err := rollup.Init(ctx, conn); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf(`create table sized (id bigint primary key, bucket bigint not null, amount numeric(12, 2) not null) with (fillfactor = 70);
		insert into sized select n, n / %d, n %% 100 from generate_series(0, %d) n; create index on sized (bucket); analyze sized`, size, rows-1), pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, err
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	all, err := rollup.Open(ctx, conn, []rollup.Definition{{
		Name: "sums", Table: "sized", Mode: rollup.Recompute, SearchPath: "public",
		GroupBy: []rollup.Column{{Name: "bucket", SQL: "bucket"}}, Columns: []rollup.Column{{Name: "n", SQL: "count"}, {Name: "total", SQL: "sum(amount)"}, {Name: "dearest", SQL: "max(amount)"}},
	}})
	if err != nil {
		return nil, err
	}
	if _, err := rollup.Build(ctx, pool, all[0]); err != nil {
		return nil, err
	}
	var took []float64
	for i := range 40 {
		began := time.Now()
		if _, err := conn.Exec(ctx, "update sized set amount = amount + 1 where id = $1", i*(rows/40)); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
	}
	all, err = rollup.Open(ctx, conn, []rollup.Definition{*all[0].Definition})
	if err != nil {
		return nil, err
	}
	report, err := rollup.Verify(ctx, conn, all[0])
	if err != nil || report.Wrong > 0 {
		return nil, fmt.Errorf("%d groups are wrong: %w", report.Wrong, err)
	}
	slices.Sort(took)
	return []result{{Who: "oncesink", Variant: fmt.Sprintf("recompute, a row of a group of %d", size), Load: "change", Rows: len(took), Seconds: 1, P50: took[len(took)/2], P99: took[len(took)-1]}}, nil
}
