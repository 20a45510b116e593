package rebuild_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/offsets"
)

// archived puts what each partition's log has below an offset into files, two of each partition.
func (r *rig) archived(below map[int32]int64) *archive.Archive {
	r.Helper()
	a, err := archive.Open(r.Context(), r.TempDir(), archive.Options{})
	r.must(err)
	topics, err := r.admin.ListTopics(r.Context(), "orders")
	r.must(err)
	for p, end := range below {
		client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {p: kgo.NewOffset().AtStart()}}))
		r.must(err)
		var records []*kgo.Record
		for int64(len(records)) < end {
			fetches := client.PollFetches(r.Context())
			r.must(fetches.Err())
			records = append(records, fetches.Records()...)
		}
		client.Close()
		source := archive.Source{Cluster: "kfake", TopicID: offsets.Token(topics["orders"].ID), Partition: offsets.Partition{Topic: "orders", Partition: p}}
		for _, part := range [][2]int64{{0, end / 2}, {end / 2, end}} {
			w, err := a.Begin(r.Context(), source, part[0])
			r.must(err)
			r.must(w.Records(records[part[0]:part[1]], part[1]))
			_, err = w.Finish(r.Context())
			r.must(err)
		}
	}
	return a
}

// trim deletes what the logs have below offsets.
func (r *rig) trim(below map[int32]int64) {
	r.Helper()
	var o kadm.Offsets
	for p, at := range below {
		o.Add(kadm.Offset{Topic: "orders", Partition: p, At: at})
	}
	resp, err := r.admin.DeleteRecords(context.Background(), o)
	r.must(errors.Join(err, resp.Error()))
}

// damage flips a bit of each file.
func (r *rig) damage(a *archive.Archive) {
	r.Helper()
	files := 0
	r.must(filepath.WalkDir(a.String(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		r.must(err)
		text[len(text)/2] ^= 4
		r.must(os.Chmod(path, 0o600))
		return os.WriteFile(path, text, 0o600)
	}))
	if files == 0 {
		r.Fatal("no files")
	}
}

// A table that was emptied, and rows of which were changed, comes back as it was from an archive and what the logs still have, whatever
// way the stage is written; then there is no difference.
func TestFromArchive(t *testing.T) {
	for name, one := range map[string]func(*rig) func(int64) event{
		"in bulk":       func(r *rig) func(int64) event { return r.uniform },
		"with an index": func(r *rig) func(int64) event { return r.mixed },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upserts, ordersTable)
			r.history(900, 150, one(r))
			r.sync()
			was := r.state()
			// The archive goes on in the log, ends where it begins, and is all there is: the log is empty.
			starts := map[int32]int64{0: 100, 1: 150, 2: r.end(2)}
			a := r.archived(map[int32]int64{0: 130, 1: 150, 2: r.end(2)})
			r.trim(starts)
			r.exec(`delete from orders where order_id % 2 = 0; update orders set note = 'damaged' where order_id % 3 = 0`)
			with := func(o *rebuild.Options) { o.Archive = a }
			result := r.rebuilt(with)
			if got := r.state(); got != was {
				t.Errorf("the table is not what it was:\n%.500s\nwant\n%.500s", got, was)
			}
			if result.Bulk != (name == "in bulk") || result.Added == 0 || result.Changed == 0 {
				t.Errorf("%+v", result)
			}
			if again := r.rebuilt(with, func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }); again.Differs() {
				t.Errorf("it differs afterwards: %+v", again)
			}
			r.clean()
		})
	}
}

// end is where a partition's log ends.
func (r *rig) end(p int32) int64 {
	r.Helper()
	ends, err := r.admin.ListEndOffsets(r.Context(), "orders")
	r.must(err)
	end, _ := ends.Lookup("orders", p)
	return end.Offset
}

// A history with a gap between the archive and the log, or without an archive, is no whole one.
func TestFromArchiveWithGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, upserts, ordersTable)
	r.history(300, 150, r.uniform)
	r.sync()
	a := r.archived(map[int32]int64{0: 30, 1: 30, 2: 29})
	r.trim(map[int32]int64{0: 30, 1: 30, 2: 30})
	verify := func(o *rebuild.Options) { o.DryRun, o.Verify = true, true }
	if h := r.rebuilt(verify).History[0]; h.Kind != rebuild.KeptFrom || len(h.From) != partitions {
		t.Errorf("no archive: %+v", h)
	}
	if h := r.rebuilt(verify, func(o *rebuild.Options) { o.Archive = a }).History[0]; h.Kind != rebuild.KeptFrom || len(h.From) != 1 || h.From[2] != 30 {
		t.Errorf("a gap: %+v", h)
	}
}

// An archive that is damaged fails the command, and leaves the table as it is.
func TestFromDamagedArchive(t *testing.T) {
	t.Parallel()
	r := newRig(t, upserts, ordersTable)
	r.history(300, 150, r.mixed)
	r.sync()
	was := r.state()
	a := r.archived(map[int32]int64{0: 30, 1: 30, 2: 30})
	r.trim(map[int32]int64{0: 30, 1: 30, 2: 30})
	r.damage(a)
	_, err := r.rebuild(func(o *rebuild.Options) { o.Archive = a })
	var damaged *archive.DamagedError
	if !errors.As(err, &damaged) || rebuild.OutcomeOf(err) != rebuild.Unchanged {
		t.Errorf("it ends with %v", err)
	}
	if r.state() != was {
		t.Error("the table is another one")
	}
}
